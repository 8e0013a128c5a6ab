//! Writing the example: pictures, ground truth, models and pipeline file, once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cast::{Kind, Member, cast};
use crate::concepts::CONCEPTS;
use crate::render::render;
use crate::truth::{self, TruthRow};
use crate::vit;
use lvd_base::error::{Error, Result};
use lvd_io::part::FACTS;
use lvd_io::publish;
use lvd_io::row::RowWriter;
use lvd_kernels::hash::Draw;

/// The pipeline that curates it.
const PIPELINE: &str = include_str!("../../../pipelines/quickstart.toml");
/// Raised when the same seed gives other files.
const VERSION: u32 = 1;
/// Written first and removed last: a folder with it was never finished.
const UNFINISHED: &str = "example.unfinished";
const DONE: &str = "example.json";

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Of every draw.
    pub seed: u64,
    /// Files in the pool.
    pub images: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, images: 2_000 }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// As asked for.
    pub options: Options,
    /// Of the program that made it.
    pub version: u32,
    /// Files by role and kind.
    pub files: BTreeMap<String, u64>,
    /// It was there before.
    #[serde(skip)]
    pub already: bool,
}

/// Makes the example in `folder`, unless it is there.
pub fn write(folder: &Path, options: &Options) -> Result<Made> {
    if let Some(made) = publish::read_json::<Made>(&folder.join(DONE))? {
        if made.options == *options && made.version == VERSION {
            return Ok(Made { already: true, ..made });
        }
        let message = format!("{} holds the example of another seed, size or version", folder.display());
        return Err(Error::usage(message, "remove the folder, or choose another"));
    }
    publish::make_folder(folder)?;
    let empty = fs::read_dir(folder).map_err(Error::io(folder))?.next().is_none();
    if !empty && !folder.join(UNFINISHED).exists() {
        let message = format!("{} is not empty, and holds no example", folder.display());
        return Err(Error::usage(message, "choose a folder that does not exist yet"));
    }
    publish::replace(&folder.join(UNFINISHED), b"")?;
    for part in ["pool", "seeds", "reference", "models"] {
        let part = folder.join(part);
        if part.exists() {
            fs::remove_dir_all(&part).map_err(Error::io(&part))?;
        }
    }
    let rows = pictures(folder, options)?;
    let mut files = BTreeMap::new();
    for row in &rows {
        *files.entry(format!("{} {}", row.role, row.kind)).or_default() += 1;
    }
    let aside = folder.join(truth::FILE);
    if aside.exists() {
        fs::remove_file(&aside).map_err(Error::io(&aside))?;
    }
    let mut writer = RowWriter::create(&aside, &FACTS)?;
    rows.into_iter().try_for_each(|row| writer.push(row))?;
    writer.finish()?;
    publish::make_folder(&folder.join("models"))?;
    vit::write(&folder.join("models"))?;
    // Two fifths of the pictures, as of the usual number.
    let pipeline = PIPELINE.replace("target = 800", &format!("target = {}", options.images * 2 / 5));
    publish::replace(&folder.join("quickstart.toml"), pipeline.as_bytes())?;
    let made = Made { options: options.clone(), version: VERSION, files, already: false };
    publish::replace_json(&folder.join(DONE), &made)?;
    let unfinished = folder.join(UNFINISHED);
    fs::remove_file(&unfinished).map_err(Error::io(&unfinished))?;
    Ok(made)
}

/// Draws and writes every file.
fn pictures(folder: &Path, options: &Options) -> Result<Vec<TruthRow>> {
    let draw = Draw::new(options.seed, "example");
    let members = cast(draw.within(0), options.images);
    for member in &members {
        publish::make_folder(&folder.join(place(member)))?;
    }
    let paths: Vec<String> = (0..members.len())
        .into_par_iter()
        .map(|index| {
            let (bytes, ending) = render(&members, index, draw)?;
            // A name that gives nothing away and sorts at random.
            let name = format!("{}/{:08x}.{ending}", place(&members[index]), draw.within(3).bits(index as u64) >> 32);
            let path = folder.join(&name);
            fs::write(&path, bytes).map_err(Error::io(&path))?;
            Ok(name)
        })
        .collect::<Result<_>>()?;
    Ok(members.iter().zip(&paths).map(|(member, path)| truth_of(member, path, &paths)).collect())
}

/// The folder of a member.
fn place(member: &Member) -> String {
    let role = if member.role == "seed" { "seeds" } else { member.role };
    format!("{role}/{}", member.source)
}

fn truth_of(member: &Member, path: &str, paths: &[String]) -> TruthRow {
    let (kind, edit, copy_of) = match member.kind {
        Kind::Original => ("original", None, None),
        Kind::ExactCopy(of) => ("exact_copy", None, Some(of)),
        Kind::EditedCopy(of, edit) => ("edited_copy", Some(edit.name().to_owned()), Some(of)),
        Kind::Broken(_) => ("broken", None, None),
        Kind::Tiny => ("tiny", None, None),
        Kind::Huge => ("huge", None, None),
    };
    TruthRow {
        path: path.to_owned(),
        role: member.role.into(),
        source: member.source.into(),
        concept: CONCEPTS[member.scene.concept].name.into(),
        kind: kind.into(),
        edit,
        copy_of: copy_of.map(|of| paths[of].clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                files.extend(self::files(&path));
            } else {
                files.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
        files
    }

    #[test]
    fn a_seed_gives_the_same_bytes_and_every_file_has_a_row() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { seed: 7, images: 80 };
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let made = write(&a, &options).expect("it is made");
        write(&b, &options).expect("it is made again");
        let below = |root: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
            let strip = |path: &PathBuf| path.strip_prefix(root).expect("below").to_path_buf();
            files(root).iter().map(|(path, bytes)| (strip(path), bytes.clone())).collect()
        };
        assert!(below(&a) == below(&b));
        let rows = truth::read(&a).expect("the truth");
        let pictures = ["pool", "seeds", "reference"].map(|part| files(&a.join(part)).len());
        assert_eq!(rows.len(), pictures.iter().sum::<usize>());
        assert_eq!(pictures[0], 80);
        assert!(rows.iter().all(|row| a.join(&row.path).is_file()));
        assert!(rows.iter().all(|row| row.copy_of.as_ref().is_none_or(|of| a.join(of).is_file())));
        assert!(!made.already && write(&a, &options).expect("it is there").already);
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.txt"), b"mine").expect("a file");
        assert!(write(folder.path(), &Options::default()).is_err());
        assert_eq!(files(folder.path()).len(), 1);
    }
}
