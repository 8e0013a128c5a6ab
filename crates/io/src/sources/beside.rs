//! The caption of a picture in a folder: the `.txt` beside it, or else `caption` in the `.json`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::columns::DEFAULT_CAPTION;
use super::json;
use super::rows::{MAX_CAPTION_BYTES, Notes};

/// The extensions of files that may hold a caption.
pub(super) const EXTENSIONS: [&str; 2] = ["txt", "json"];
/// The longest JSON that is read, in bytes.
const MAX_JSON: u64 = 16 << 20;

/// The caption of the picture at `path`, as far as it is kept.
pub(super) fn caption(path: &Path, notes: &mut Notes) -> Option<String> {
    let text =
        read(&path.with_extension("txt"), MAX_CAPTION_BYTES as u64 + 512).map(|bytes| bytes.trim_ascii().to_vec());
    let text = text.filter(|text| !text.is_empty()).or_else(|| {
        let bytes = read(&path.with_extension("json"), MAX_JSON)?;
        let picked = json::pick(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes), [DEFAULT_CAPTION]);
        notes.captions_lost += u64::from(picked.is_err());
        picked.ok().and_then(|[caption]| caption).map(String::into_bytes)
    });
    notes.caption(text.as_deref())
}

/// The first bytes of a plain file, where there is one.
fn read(path: &Path, at_most: u64) -> Option<Vec<u8>> {
    // Asked before opening: a FIFO would wait for a writer.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(at_most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Done, rows};
    use super::super::{InputRow, Source};

    #[test]
    fn captions_lie_beside_pictures() -> Done {
        let dir = tempfile::tempdir()?;
        let files = [
            ("1.jpg", ""),
            ("1.txt", " a dog\n"),
            ("1.json", r#"{"caption": "no"}"#),
            ("2.JPG", ""),
            ("2.json", r#"{"caption": "a cat", "n": 1}"#),
            ("3.jpg", ""),
            ("3.txt", "\n"),
            ("4.jpg", ""),
            ("4.json", "{"),
            ("5.jpg", ""),
        ];
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content)?;
        }
        let path = dir.path().to_path_buf();
        let source = Source::Folder { path, except: Vec::new(), extensions: vec!["jpg".into()], captions: true };
        let row =
            |location: &str, caption: Option<&str>| InputRow::new(location.to_owned(), caption.map(str::to_owned));
        let expect = [
            row("1.jpg", Some("a dog")),
            row("2.JPG", Some("a cat")),
            row("3.jpg", None),
            row("4.jpg", None),
            row("5.jpg", None),
        ];
        assert_eq!(rows(&source)?, expect);
        assert_eq!((source.check()?, source.list(&mut |_| Ok(()))?.captions_lost), (5, 1));
        let before = source.fingerprint()?;
        std::fs::write(dir.path().join("5.txt"), "new")?;
        assert_ne!(source.fingerprint()?, before);
        Ok(())
    }
}
