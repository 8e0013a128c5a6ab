//! The bytes of an archive: plain, of gzip by member, or of zstd by frame, block by block.
//!
//! What is damaged costs its member alone: the next one is looked for and read. So a caller hears
//! of each damage once, and may go on reading after it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use lvd_base::error::{Error, Result};

/// Bytes that are read from the file, and handed on, at a time.
const BLOCK: usize = 64 << 10;
/// The longest dictionary of zstd that is read, in bytes; those of archives have 112 KB.
const MAX_DICTIONARY: u64 = 16 << 20;
const GZIP: &[u8] = b"\x1f\x8b\x08";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// The frame in front of all others that holds the dictionary of a `.warc.zst`.
const DICTIONARY: &[u8] = b"\x5d\x2a\x4d\x18";

pub(super) const CUT_OFF: &str = "archives are cut off: the last record is not whole.";
pub(super) const DAMAGED: &str = "places in archives are damaged: what follows there is skipped up to the next record.";
const FOREIGN: &str = "places between compressed records are no such record, and skipped.";

/// Why reading stops, for now or for good.
pub(super) enum Stop {
    /// The archive is damaged here; reading may go on behind it.
    Damage(&'static str),
    /// The file cannot be read, or whoever hears of its rows wants no more.
    Fault(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

type Reading<T> = std::result::Result<T, Stop>;

/// How the bytes are packed.
enum Member {
    Plain(BufReader<File>),
    /// Between two members.
    Between(BufReader<File>),
    Gzip(GzDecoder<BufReader<File>>),
    Zstd(ZstdDecoder<'static, BufReader<File>>),
    /// For the moment in which one becomes another.
    Moving,
}

/// An archive that is being read.
pub(super) struct Input {
    member: Member,
    /// What the members begin with; empty for a plain file.
    magic: &'static [u8],
    dictionary: Vec<u8>,
    /// Where in the file the member begins.
    start: u64,
    /// Bytes of one member, of which `taken` are used up.
    block: Vec<u8>,
    taken: usize,
    /// How many bytes of the member came before the block.
    before: u64,
    /// What stopped the reading behind the block.
    stopped: Option<io::Error>,
    path: std::path::PathBuf,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut file = BufReader::with_capacity(BLOCK, File::open(path).map_err(Error::io(path))?);
        let first = file.fill_buf().map_err(Error::io(path))?;
        let (magic, has_dictionary) = match first {
            first if first.starts_with(&GZIP[..2]) => (GZIP, false),
            first if first.starts_with(ZSTD) => (ZSTD, false),
            first if first.starts_with(DICTIONARY) => (ZSTD, true),
            _ => (&[][..], false),
        };
        let dictionary = if has_dictionary { dictionary(&mut file).map_err(Error::io(path))? } else { Vec::new() };
        let member = if magic.is_empty() { Member::Plain(file) } else { Member::Between(file) };
        let (block, path) = (Vec::new(), path.to_path_buf());
        Ok(Self { member, magic, dictionary, start: 0, block, taken: 0, before: 0, stopped: None, path })
    }

    /// The byte of the file to name for what comes next: where its member begins, or it itself.
    pub(super) fn place(&self) -> u64 {
        match self.member {
            Member::Plain(_) => self.before + self.taken as u64,
            _ => self.start,
        }
    }

    /// Whether nothing of the member has been used up.
    pub(super) fn at_start(&self) -> bool {
        self.before == 0 && self.taken == 0
    }

    /// Sees to it that there is a [`block`](Self::block); `false` at the end.
    pub(super) fn more(&mut self) -> Reading<bool> {
        while self.taken == self.block.len() {
            if let Some(error) = self.stopped.take() {
                return Err(self.skip_damage(error));
            }
            if matches!(self.member, Member::Between(_)) && !self.begin_member()? {
                return Ok(false);
            }
            self.fill();
            let is_plain = matches!(self.member, Member::Plain(_));
            if self.block.is_empty() && self.stopped.is_none() {
                if is_plain {
                    return Ok(false);
                }
                self.end_member();
            }
        }
        Ok(true)
    }

    /// The bytes that come next, all of one member.
    pub(super) fn block(&self) -> &[u8] {
        &self.block[self.taken..]
    }

    /// Uses up bytes of the block.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Reads the next block, as much of it as the member has.
    fn fill(&mut self) {
        self.before += self.block.len() as u64;
        self.taken = 0;
        self.block.resize(BLOCK, 0);
        let mut length = 0;
        while length < BLOCK {
            let rest = &mut self.block[length..];
            let read = match &mut self.member {
                Member::Plain(file) => file.read(rest),
                Member::Gzip(member) => member.read(rest),
                Member::Zstd(member) => member.read(rest),
                Member::Between(_) | Member::Moving => Ok(0),
            };
            match read {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.stopped = Some(error);
                    break;
                }
            }
        }
        self.block.truncate(length);
    }

    /// The file behind the member, which is over.
    fn end_member(&mut self) {
        self.member = match std::mem::replace(&mut self.member, Member::Moving) {
            Member::Gzip(member) => Member::Between(member.into_inner()),
            Member::Zstd(member) => Member::Between(member.finish()),
            other => other,
        };
    }

    /// Opens the member that comes next; `false` at the end of the file.
    fn begin_member(&mut self) -> Reading<bool> {
        let path = self.path.clone();
        let fault = |error| Stop::Fault(Error::io(&path)(error));
        let Member::Between(file) = &mut self.member else { return Ok(true) };
        // Some writers fill up with zeros.
        loop {
            let block = file.fill_buf().map_err(fault)?;
            let zeros = block.iter().take_while(|&&byte| byte == 0).count();
            if zeros == 0 {
                break;
            }
            file.consume(zeros);
        }
        self.start = file.stream_position().map_err(fault)?;
        let mut first = Vec::new();
        (&mut *file).take(self.magic.len() as u64).read_to_end(&mut first).map_err(fault)?;
        if first.is_empty() {
            return Ok(false);
        }
        file.seek_relative(-i64::try_from(first.len()).unwrap_or(0)).map_err(fault)?;
        if !self.magic.starts_with(&first) {
            self.find_member()?;
            return Err(Stop::Damage(FOREIGN));
        }
        self.member = match std::mem::replace(&mut self.member, Member::Moving) {
            Member::Between(file) if self.magic == ZSTD => {
                let member = ZstdDecoder::with_dictionary(file, &self.dictionary).map_err(fault)?;
                Member::Zstd(member.single_frame())
            }
            Member::Between(file) => Member::Gzip(GzDecoder::new(file)),
            other => other,
        };
        self.block.clear();
        (self.taken, self.before) = (0, 0);
        Ok(true)
    }

    /// Leaves a member that cannot be read to its end.
    fn skip_damage(&mut self, error: io::Error) -> Stop {
        if error.raw_os_error().is_some() || matches!(self.member, Member::Plain(_)) {
            return Stop::Fault(Error::io(&self.path)(error));
        }
        self.end_member();
        let cut_off = error.kind() == ErrorKind::UnexpectedEof;
        match self.find_member() {
            Err(stop) => stop,
            Ok(()) if cut_off => Stop::Damage(CUT_OFF),
            Ok(()) => Stop::Damage(DAMAGED),
        }
    }

    /// Goes to the next bytes behind the start of the member that begin one.
    fn find_member(&mut self) -> Reading<()> {
        let path = self.path.clone();
        let fault = |error| Stop::Fault(Error::io(&path)(error));
        let Member::Between(file) = &mut self.member else { return Ok(()) };
        let mut place = self.start + 1;
        let mut window = Vec::new();
        file.seek(SeekFrom::Start(place)).map_err(fault)?;
        loop {
            let read = (&mut *file).take(BLOCK as u64).read_to_end(&mut window).map_err(fault)?;
            let found = window.windows(self.magic.len()).position(|bytes| bytes == self.magic);
            if found.is_some() || read == 0 {
                place += found.unwrap_or(window.len()) as u64;
                break;
            }
            // The last bytes may be the first of what is looked for.
            let over = window.len().saturating_sub(self.magic.len() - 1);
            window.drain(..over);
            place += over as u64;
        }
        file.seek(SeekFrom::Start(place)).map_err(fault)?;
        Ok(())
    }
}

/// The dictionary in the first frame, which may be compressed itself.
fn dictionary(file: &mut BufReader<File>) -> io::Result<Vec<u8>> {
    let mut head = [0; 8];
    file.read_exact(&mut head)?;
    let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let mut bytes = Vec::new();
    file.take(u64::from(size).min(MAX_DICTIONARY)).read_to_end(&mut bytes)?;
    if !bytes.starts_with(ZSTD) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    ZstdDecoder::new(&*bytes)?.take(MAX_DICTIONARY).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}
