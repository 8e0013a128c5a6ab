//! Tars of images, plain or as `WebDataset` writes samples: members named alike up to the first dot
//! of their file names.
//!
//! Only headers are read, and the captions beside images; what lies between is skipped. A member is
//! an image by its last extension, and everything else in a tar says something about an image, or
//! is nothing to us.

use std::fs::File;
use std::path::Path;

use ::tar::{Archive, Entry};
use serde_json::Value;

use super::columns::DEFAULT_CAPTION;
use super::json;
use super::location::{self, TarMember, escape, file_name};
use super::look;
use super::rows::{InputRow, MAX_CAPTION_BYTES, Notes, extra};
use super::text::unpacks;
use lvd_base::error::{Error, Result};

/// Images of one sample that wait for its caption; those of more are handed on with what is known
/// by then.
const WAITING: usize = 1000;
/// The longest name of an image, in bytes.
const MAX_NAME: usize = 64 << 10;
/// Bytes of a tar's blocks.
const BLOCK: u64 = 512;
/// The longest JSON that is read, in bytes.
const MAX_JSON: u64 = 16 << 20;
/// The caption in a `.json`, and what is kept of it.
type Json = ([Option<String>; 1], Vec<Option<Value>>);
/// Hears of a member: its name, and the rest.
type Each<'a> = dyn FnMut(&[u8], &mut Entry<File>) -> Result<()> + 'a;

/// A sample as far as it has been read: its images, and what its other members say of them.
#[derive(Default)]
struct Sample {
    key: Vec<u8>,
    /// Of each image, where it is, and its name without its last extension.
    images: Vec<(String, Vec<u8>)>,
    text: Option<Vec<u8>>,
    /// Texts that are named like one image, `22.05.txt` like `22.05.jpg`.
    texts: Vec<(Vec<u8>, Vec<u8>)>,
    json: Option<Vec<u8>>,
    extra: Option<String>,
}

impl Sample {
    fn hand_on(&mut self, notes: &mut Notes, each: &mut dyn FnMut(InputRow) -> Result<()>) -> Result<()> {
        let of_all = self.text.as_deref().or(self.json.as_deref());
        self.images.drain(..).try_for_each(|(location, stem)| {
            let own = self.texts.iter().find(|(name, _)| *name == stem).map(|(_, text)| text.as_slice());
            each(InputRow { location, caption: notes.caption(own.or(of_all)), extra: self.extra.clone() })
        })
    }
}

/// Streams the images of one tar, number `file` of the source. A caption is `caption_key` of the
/// sample's `.json`; where no key is named, its `.txt`, or else `caption` of its `.json`.
pub(super) fn list(
    path: &Path,
    file: usize,
    caption_key: Option<&str>,
    keep: &[String],
    notes: &mut Notes,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    let archive = file_name(path);
    let mut sample = Sample::default();
    let read = members(path, &mut |name, entry| {
        let (key, suffix) = parts(name);
        if key != sample.key {
            let next = Sample { key: key.to_vec(), ..Sample::default() };
            std::mem::replace(&mut sample, next).hand_on(notes, each)?;
        }
        match suffix.as_slice() {
            b"txt" if caption_key.is_none() => sample.text = text(entry),
            suffix if caption_key.is_none() && suffix.ends_with(b".txt") && sample.texts.len() < WAITING => {
                sample.texts.extend(text(entry).map(|text| (stem(name).to_vec(), text)));
            }
            b"json" => match json_of(entry, caption_key.unwrap_or(DEFAULT_CAPTION), keep) {
                Some(([caption], kept)) => {
                    sample.json = caption.map(String::into_bytes);
                    let kept = keep.iter().map(String::as_str).zip(kept);
                    sample.extra = extra(kept.filter_map(|(name, value)| Some((name, value?))));
                }
                None => notes.captions_lost += 1,
            },
            suffix if is_image(suffix) => {
                if sample.images.len() == WAITING {
                    sample.hand_on(notes, each)?;
                }
                // A link has no bytes of its own, and a sparse file not in one piece: a row that is
                // dropped as empty.
                let size = if is_plain(entry) { entry.size() } else { 0 };
                let offset = entry.raw_file_position();
                let stem = stem(name).to_vec();
                let name = escape(name);
                let location = if name.len() > MAX_NAME {
                    location::unusable("byte", offset, &format!("a member's name of {} bytes", name.len()))
                } else {
                    TarMember { file, archive: &archive, offset, size, name: &name }.write()
                };
                sample.images.push((location, stem));
            }
            _ => {}
        }
        Ok(())
    });
    // What is before the damage counts.
    if matches!(read, Ok(()) | Err(Error::Data(_))) {
        sample.hand_on(notes, each)?;
    }
    read
}

/// Looks at all headers of one tar, and returns how many images it has.
pub(super) fn check(path: &Path) -> Result<u64> {
    let mut images = 0;
    members(path, &mut |name, _| {
        images += u64::from(is_image(&parts(name).1));
        Ok(())
    })?;
    Ok(images)
}

/// Calls `each` for every member but folders and hidden files.
fn members(path: &Path, each: &mut Each) -> Result<()> {
    let file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut archive = Archive::new(file);
    // Tars that were put one behind the other have ends in between.
    archive.set_ignore_zeros(true);
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(|error| broken(path, &error))? {
        let mut entry = entry.map_err(|error| broken(path, &error))?;
        end = entry.raw_file_position() + if is_plain(&entry) { entry.size() } else { 0 };
        let name = entry.path_bytes().into_owned();
        let hidden = name.rsplit(|&byte| byte == b'/').next().is_none_or(|base| base.starts_with(b"."));
        if !entry.header().entry_type().is_dir() && !hidden {
            each(&name, &mut entry)?;
        }
    }
    // The zeros that end a tar may be missing where its last member is whole.
    if end > length || length < BLOCK {
        return Err(Error::data(path, format!("cut off: its last member ends at byte {end}, the file at {length}")));
    }
    Ok(())
}

/// Whether a member's bytes lie in one piece behind its header.
fn is_plain(entry: &Entry<File>) -> bool {
    let kind = entry.header().entry_type();
    kind.is_file() || kind.is_contiguous()
}

fn is_image(suffix: &[u8]) -> bool {
    suffix
        .rsplit(|&byte| byte == b'.')
        .next()
        .is_some_and(|extension| look::IMAGES.iter().any(|image| image.as_bytes() == extension))
}

/// The key of a member's sample, and in lower case what follows the first dot.
fn parts(name: &[u8]) -> (&[u8], Vec<u8>) {
    let start = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let base = &name[start..];
    let dot = base.iter().position(|&byte| byte == b'.');
    let suffix = dot.map_or(&[][..], |dot| &base[dot + 1..]);
    (&name[..start + dot.unwrap_or(base.len())], suffix.to_ascii_lowercase())
}

/// A member's name without its last extension.
fn stem(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&byte| byte == b'.').map_or(name, |dot| &name[..dot])
}

/// The text of a member, as far as a caption goes.
fn text(entry: &mut Entry<File>) -> Option<Vec<u8>> {
    let bytes = read(entry, MAX_CAPTION_BYTES as u64 + BLOCK)?;
    let text = bytes.trim_ascii();
    (!text.is_empty()).then(|| text.to_vec())
}

/// The text of a key in a member that is a JSON object, and the values of others; `None` where it
/// is no object.
fn json_of(entry: &mut Entry<File>, key: &str, keep: &[String]) -> Option<Json> {
    let bytes = if entry.size() > MAX_JSON { None } else { read(entry, MAX_JSON) }?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let kept = if keep.is_empty() { Vec::new() } else { json::values(bytes, keep).ok()? };
    Some((json::pick(bytes, [key]).ok()?, kept))
}

fn read(entry: &mut Entry<File>, at_most: u64) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    entry.take(at_most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Says what a file is that is no tar.
fn broken(path: &Path, error: &std::io::Error) -> Error {
    use std::io::Read;
    let mut first = [0; 6];
    let read = File::open(path).and_then(|mut file| file.read(&mut first)).unwrap_or(0);
    match unpacks(&first[..read]) {
        Some(cure) => Error::usage(
            format!("{}: a compressed tar, whose members cannot be read one by one", path.display()),
            format!("unpack it with `{cure}`: images hardly get smaller by it"),
        ),
        None => Error::data(path, format!("no tar, or a damaged one: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sources::Source;
    use crate::sources::fixture::{Done, rows};
    use crate::sources::location::Located;

    fn tar(path: &Path, members: &[(&str, &[u8])]) -> Done {
        let mut builder = ::tar::Builder::new(File::create(path)?);
        for (name, bytes) in members {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes)?;
        }
        Ok(builder.finish()?)
    }

    fn source(path: &Path, caption_key: Option<&str>) -> Source {
        Source::Tar { files: vec![path.into()], caption_key: caption_key.map(str::to_owned), keep: Vec::new() }
    }

    /// What stands where a location says, and the row's caption.
    fn read(path: &Path, source: &Source) -> Done<Vec<(String, String, Option<String>)>> {
        let bytes = std::fs::read(path)?;
        let archives = [file_name(path)];
        let rows = rows(source)?;
        let members = rows.iter().map(|row| {
            let Located::Here(member) = TarMember::read(&row.location, |_, name| archives[0] == name) else {
                panic!("{row:?}")
            };
            let (from, size) = (usize::try_from(member.offset)?, usize::try_from(member.size)?);
            Ok((member.name.to_owned(), String::from_utf8(bytes[from..from + size].to_vec())?, row.caption.clone()))
        });
        members.collect()
    }

    #[test]
    fn samples_have_captions_and_images_places() -> Done {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a#1:b+c.tar");
        let long = format!("{}/x.PNG", "long".repeat(60));
        let members: [(&str, &[u8]); 16] = [
            ("0.jpg", b"one"),
            ("0.txt", b" a dog\n"),
            ("0.ocr.txt", b"EXIT"),
            ("0.meta.json", b"{}"),
            ("0.json", br#"{"caption": "no", "alt": "its alt"}"#),
            ("sub/1.cls", b"7"),
            ("sub/1.json", br#"{"caption": "a cat"}"#),
            ("sub/1.left.jpg", b"two"),
            ("sub/1.right.webp", b"three"),
            ("._0.jpg", b"a resource fork"),
            ("README.md", b"no image"),
            (&long, b"four"),
            ("jpg", b"no extension"),
            ("22.05.jfif", b"five"),
            ("22.05.txt", b"of May"),
            ("22.06.jpg", b"six"),
        ];
        tar(&path, &members)?;
        let row = |name: &str, bytes: &str, caption: Option<&str>| {
            (name.to_owned(), bytes.to_owned(), caption.map(str::to_owned))
        };
        let plain = source(&path, None);
        let expect = [
            row("0.jpg", "one", Some("a dog")),
            row("sub/1.left.jpg", "two", Some("a cat")),
            row("sub/1.right.webp", "three", Some("a cat")),
            row(&long, "four", None),
            row("22.05.jfif", "five", Some("of May")),
            row("22.06.jpg", "six", None),
        ];
        assert_eq!(read(&path, &plain)?, expect);
        assert_eq!(plain.check()?, 6);
        let captions: Vec<_> = rows(&source(&path, Some("alt")))?.into_iter().map(|row| row.caption).collect();
        assert_eq!(captions, [Some("its alt".to_owned()), None, None, None, None, None]);
        Ok(())
    }

    #[test]
    fn what_is_no_whole_tar_is_said_before_anything_starts() -> Done {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a.tar");
        let says = |expect: &str| {
            let error = source(&path, None).check().expect_err("it is refused");
            let said = format!("{error} / {}", error.hint().unwrap_or_default());
            assert!(said.contains(expect), "{said}");
        };
        tar(&path, &[("0.jpg", &[1; 5000]), ("1.jpg", &[2; 5000])])?;
        let whole = std::fs::read(&path)?;
        for cut in [9000, 11_000] {
            std::fs::write(&path, &whole[..cut])?;
            says("cut off");
        }
        std::fs::write(&path, &whole[..11_264])?;
        assert_eq!(source(&path, None).check()?, 2);
        // One that is cut off among whole ones.
        let other = dir.path().join("b.tar");
        std::fs::write(&path, &whole[..9000])?;
        std::fs::write(&other, &whole)?;
        let both = Source::Tar { files: vec![dir.path().into()], caption_key: None, keep: Vec::new() };
        let found: Vec<String> = rows(&both)?.into_iter().map(|row| row.location).collect();
        assert_eq!((found.len(), both.check()?), (5, 3), "{found:?}");
        assert!(found[2].starts_with("(unusable) file 0: a.tar: cut off"), "{found:?}");
        assert_eq!(both.list(&mut |_| Ok(()))?.warnings().count(), 1);
        std::fs::remove_file(&other)?;
        std::fs::write(&path, &whole[..5700])?;
        assert!(source(&path, None).check().is_err());
        std::fs::write(&path, b"\x1f\x8b\x08 compressed")?;
        says("gzip -d");
        File::create(&path)?.write_all(&[b'x'; 2000])?;
        says("no tar");
        File::create(&path)?;
        says("cut off");
        Ok(())
    }

    #[test]
    fn tars_put_together_are_read_to_the_end_and_large_samples_do_not_wait() -> Done {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a.tar");
        tar(&path, &[("0.jpg", b"one")])?;
        let first = std::fs::read(&path)?;
        let frames: Vec<String> = (0..2500).map(|number| format!("frame.{number}.jpg")).collect();
        let mut members: Vec<(&str, &[u8])> = frames.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        members.push(("frame.txt", b"late"));
        tar(&path, &members)?;
        std::fs::write(&path, [first, std::fs::read(&path)?].concat())?;
        let read = read(&path, &source(&path, None))?;
        assert_eq!((read.len(), source(&path, None).check()?), (2501, 2501));
        let named = read.iter().skip(1).map(|(name, ..)| name).eq(&frames);
        assert!(named && read[2000].2.is_none() && read[2001].2.as_deref() == Some("late"), "{:?}", &read[1999..2003]);
        Ok(())
    }
}
