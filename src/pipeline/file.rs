//! The pipeline file as text: TOML tables, overrides from the command line, and where in the file
//! each key stands.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::pipeline::parse;
use crate::pipeline::preset::Preset;
use crate::pipeline::shell::quoted;
use crate::stages::catalog::Role;
use lvd_base::error::{Error, Fault, Result, choices, nearest};
use lvd_io::sources::UrlFormat;
use lvd_ops::preprocess::Interpolation;

/// A pipeline: what is curated from what, and how.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The seed of every random draw. The same inputs, settings and seed give the same data set.
    #[serde(default)]
    pub seed: u64,
    /// The work folder, relative to this file; or `s3://BUCKET/PREFIX` (docs/cluster.md).
    #[serde(default = "work")]
    pub work: String,
    /// What every absolute number of images or clusters in the steps is multiplied by, to try a big
    /// recipe on a few images: `clusters` and `splits` of cluster (levels that would not have fewer
    /// clusters than the one before are left out); `per_cluster` and `cap` of retrieve; `target`,
    /// `per_cluster` and `quotas` of sample. Each stays 1 at least.
    #[serde(default = "one")]
    pub scale: f64,
    /// Sources of images by name.
    #[serde(default)]
    pub sources: IndexMap<String, SourceSettings>,
    /// Models by name. Left out, where there is an embed step: those in the box, `copy` and
    /// `semantic` (docs/models.md). Steps that look for copies then read the first, others the
    /// second.
    #[serde(default)]
    pub embedders: IndexMap<String, EmbedderSettings>,
    /// Steps by name, in the order they run; each says its `stage` and that stage's settings.
    #[serde(default)]
    #[schemars(skip)]
    pub steps: IndexMap<String, Table>,
    /// How tasks run elsewhere than on this machine.
    #[serde(default)]
    #[schemars(skip)]
    pub engine: EngineTables,
}

/// `[engine]`: a table an engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineTables {
    /// `[engine.slurm]`, with its `overrides` in it.
    #[serde(default)]
    pub slurm: Table,
}

fn one() -> f64 {
    1.0
}

fn work() -> String {
    "work".into()
}

/// A source of images: exactly one of `folder`, `urls`, `archives`, `parquet` and `tars`. Paths are
/// relative to the pipeline file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// `pool` (uncurated), `seed` (curated; goes in as it is) or `reference` (held out; what is
    /// near it must go).
    #[serde(default)]
    pub role: Role,
    /// A folder with images, searched with all folders below it. The work folder and this file are
    /// left out where they lie in it.
    pub folder: Option<PathBuf>,
    /// In `folder`: the endings of the files that are images, without the dot, large or small:
    /// `["jpg", "png"]`; `""` is a name without an ending. Others count as no rows. Left out: every
    /// file is a row, and what is no image is dropped.
    pub extensions: Option<Vec<String>>,
    /// In `folder`: whether the caption of a picture is the `.txt` beside it or, without one,
    /// `caption` in the `.json` beside it. Left out: a folder has no captions. Needs `extensions`,
    /// so that these files are no rows.
    pub captions: Option<bool>,
    /// Files with URLs: `txt` (a URL a line, and its caption behind a tab), `csv`, `tsv`, `jsonl` or
    /// `parquet`; texts may be compressed (`csv.gz`, `csv.zst`). A folder means every such file in
    /// it. Text is UTF-8. A cell may hold several URLs, each of which is a row: with blanks or `|`
    /// between them, as a list of Parquet or JSON, or as Python writes one. In `csv` and `tsv` fields may be quoted, and a quote
    /// in them is doubled; one that is never closed is an error that names its line. A row whose
    /// URL is longer than 64 KiB, or that cannot be read, is dropped as `bad_url`.
    pub urls: Option<Vec<PathBuf>>,
    /// The format of `urls`. Left out: by the file's ending. A `tsv` whose quotes are ordinary
    /// characters is `tsv_unquoted`.
    pub format: Option<UrlFormat>,
    /// Whether the first line of a `csv` or `tsv` names the columns. Without such a line they are
    /// called `1`, `2`, `3`, and the first has the URL unless `url_column` says otherwise. Default:
    /// `true`.
    pub header: Option<bool>,
    /// The column with the URL, in tables of URLs. Default: `url`.
    pub url_column: Option<String>,
    /// Crawl archives with the pages whose images are to be fetched: WARC (`warc`, `warc.gz`,
    /// `warc.zst`), Common Crawl's WAT (`warc.wat.gz`, `wat.gz`), ARC (`arc`, `arc.gz`). A folder
    /// means every such file in it. A row is an image of a page: `src`, the largest of `srcset` and
    /// what lazy pages have in their place (`data-src` and the like), of each `<img>` and of each
    /// `<source>` of a `<picture>`; of a page every URL once. Its `alt` is the caption, and the
    /// column `extra` has `page` and `license`. What is damaged is passed over and counted.
    pub archives: Option<Vec<PathBuf>>,
    /// Parquet files with the images in them. A folder means every Parquet file in it.
    pub parquet: Option<Vec<PathBuf>>,
    /// The column with the image, in `parquet`: bytes, or `struct<bytes, path>` as Hugging Face
    /// writes it. Default: `image`.
    pub image_column: Option<String>,
    /// Uncompressed tars with the images in them, plain or of `WebDataset`. A folder means every
    /// tar in it. Members are images by their names (`jpg`, `jpeg`, `jpe`, `jfif`, `png`, `webp`,
    /// `gif`, `bmp`, `tif`, `tiff`); others, and those whose names begin with a dot, count as no
    /// rows. Every command looks at all headers.
    pub tars: Option<Vec<PathBuf>>,
    /// The column with the caption. Default: `caption`, if there is one. In `tars`: the key in a
    /// sample's `.json`. Default: the sample's `.txt`, or else `caption` in its `.json` (a sample
    /// is what is named alike up to the first dot). Captions are kept up to 64 KiB; the report
    /// counts those that were cut (`captions_cut`), and `.json` beside images that cannot be read
    /// (`captions_lost`).
    pub caption_column: Option<String>,
    /// Other columns to keep, in `urls` and `parquet`, or other keys of the `.json` in `tars`: texts,
    /// numbers and truth values, texts up to 64 KiB. They go through to the export, as a JSON object
    /// in the column `extra`.
    pub keep_columns: Option<Vec<String>>,
    /// How many images it is known to have: `lvd plan` goes by it while the source is not there
    /// yet.
    pub images: Option<u64>,
}

/// An ONNX model and what its input must look like. The answer is always scaled to unit norm and
/// stored as fp16.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbedderSettings {
    /// The ONNX file, relative to the pipeline file; or `builtin:copy` or `builtin:semantic`, the
    /// encoders in the box, which need no other setting. A model's input is RGB pictures, N x 3 x H x W or N
    /// x H x W x 3, in fp32, fp16 or bytes (docs/models.md). Files of weights beside it belong to
    /// the model: when one changes, the step embeds again.
    pub model: Option<PathBuf>,
    /// Where to download the file, instead of `model`; needs `sha256`.
    pub url: Option<String>,
    /// SHA-256 of the ONNX file: required with `url`, checked with `model`.
    pub sha256: Option<String>,
    /// Sets the settings below to those of a known encoder (docs/models.md). What is set here wins.
    pub preset: Option<Preset>,
    /// Pixels to resize the short edge to, or both edges with `squash`.
    pub resize: Option<u32>,
    /// Resize both edges to `resize`, whatever the shape.
    pub squash: Option<bool>,
    /// Side in pixels of the square cut from the middle: the model's input. Left out: `resize`.
    pub crop: Option<u32>,
    /// `bicubic` or `bilinear`, both with antialiasing as in Pillow and torchvision. Default:
    /// `bicubic`.
    pub interpolation: Option<Interpolation>,
    /// Mean of R, G and B, of values from 0 to 1. Default: `ImageNet`'s. A model that takes bytes
    /// gets the levels from 0 to 255 as they are, and goes without mean and deviation.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of R, G and B. Default: `ImageNet`'s.
    pub std: Option<[f32; 3]>,
    /// The model's output to take, in fp32, fp16 or fp64: N x D, N x D x 1 x 1, or N x T x D for
    /// its first token. D is 2 or more. Left out: the first output.
    pub output: Option<String>,
    /// Values of a vector, 2 or more: a model that gives another number is an error. Left out: the
    /// preset's, or any.
    pub dims: Option<u32>,
}

/// A part of the file: what can be used of it, and what is wrong with the rest.
pub struct Parsed<T> {
    /// What can be used; `None`: nothing.
    pub value: Option<T>,
    /// What is wrong.
    pub faults: Vec<Error>,
    /// The keys of what was left out for that, from the top of the file.
    pub left_out: Vec<Vec<String>>,
}

/// The keys of the file that are no tables of one step.
const TOP: [&str; 7] = ["seed", "work", "scale", "sources", "embedders", "steps", "engine"];

/// A pipeline file with its overrides applied, before anything in it is looked at.
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    text: String,
    table: Table,
    overridden: Vec<Vec<String>>,
}

impl Source {
    /// Reads `path` and applies `overrides` of the form `step.key=value`.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
        let table = text.parse::<Table>().map_err(|error| {
            let fault = Fault::new(error.message(), "the file is TOML: https://toml.io");
            Error::Setting(fault.at(place_in(path, &text, error.span().map(|span| span.start))))
        })?;
        let mut source = Self { path: path.to_path_buf(), text, table, overridden: Vec::new() };
        overrides.iter().try_for_each(|text| source.set(text))?;
        Ok(source)
    }

    fn set(&mut self, text: &str) -> Result<()> {
        let bad = |fact: String, cure: &str| Error::Setting(Fault::new(fact, cure).at(format!("--set {text}")));
        let (key, value) = text.split_once('=').ok_or_else(|| {
            bad("has no `=`".into(), "write --set step.key=value, for instance --set dedup.threshold=0.7")
        })?;
        let mut keys: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        let is_step =
            self.table.get("steps").and_then(Value::as_table).is_some_and(|steps| steps.contains_key(&keys[0]));
        if is_step {
            keys.insert(0, "steps".into());
        } else if !TOP.contains(&keys[0].as_str()) {
            let steps = self.table.get("steps").and_then(Value::as_table).into_iter().flat_map(Table::keys);
            let names = steps.map(String::as_str).chain(TOP);
            let hint = choices(&keys[0], "the part before the first dot is a step of the file", names);
            return Err(bad(format!("there is no step {:?}", keys[0]), &hint));
        }
        // A value that is no TOML is a bare string: --set work=elsewhere.
        let parsed = format!("x = {}", value.trim()).parse::<Table>().ok().and_then(|mut table| table.remove("x"));
        let mut table = &mut self.table;
        let (last, above) = keys.split_last().ok_or_else(|| bad("names no key".into(), ""))?;
        for key in above {
            let entry = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| bad(format!("`{key}` is no table"), ""))?;
        }
        table.insert(last.clone(), parsed.unwrap_or_else(|| Value::String(value.trim().to_owned())));
        self.overridden.push(keys);
        Ok(())
    }

    /// The whole file.
    #[must_use]
    pub fn parse(&self) -> Parsed<File> {
        self.parse_at(&[], self.table.clone())
    }

    /// A part of the file, `table`, which stands at `keys`.
    #[must_use]
    pub fn parse_at<T: DeserializeOwned>(&self, keys: &[String], table: Table) -> Parsed<T> {
        let (value, misfits) = parse::parse(table);
        let mut parsed = Parsed { value, faults: Vec::new(), left_out: Vec::new() };
        for misfit in misfits {
            let at = [keys, &misfit.keys].concat();
            parsed.faults.extend(misfit.fault.map(|fault| self.fault(&at, fault)));
            parsed.left_out.push(at);
        }
        parsed
    }

    /// An error at a key of the file.
    #[must_use]
    pub fn fault(&self, keys: &[String], mut fault: Fault) -> Error {
        if !keys.is_empty() {
            fault.fact = format!("{}: {}", keys.join("."), fault.fact);
        }
        Error::Setting(fault.at(self.place(keys)))
    }

    /// Whether a key is set, in the file or by an override.
    #[must_use]
    pub fn holds(&self, keys: &[String]) -> bool {
        let mut tables = Some(&self.table);
        keys.iter().all(|key| {
            let value = tables.and_then(|table| table.get(key));
            tables = value.and_then(Value::as_table);
            value.is_some()
        })
    }

    /// `file:line` of a key, or of the nearest key above it that is in the file.
    fn place(&self, keys: &[String]) -> String {
        if self.overridden.iter().any(|set| keys.starts_with(set) || set.starts_with(keys) && !keys.is_empty()) {
            return format!("{} with --set", self.path.display());
        }
        let start = toml_edit::Document::parse(self.text.as_str()).ok().and_then(|document| {
            let mut item = document.as_item();
            let mut start = None;
            for key in keys {
                let Some((name, below)) = item.as_table_like().and_then(|table| table.get_key_value(key)) else {
                    break;
                };
                start = name.span().or_else(|| below.span()).map(|span| span.start).or(start);
                item = below;
            }
            start
        });
        place_in(&self.path, &self.text, start)
    }
}

/// A pipeline file that cannot be read, with what may have been meant.
fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let shown = quoted(&path.to_string_lossy());
    if path.is_dir() {
        let hint = format!("lvd init {shown} writes a pipeline file for the images in it");
        return Error::usage(format!("{} is a folder, not a pipeline file", path.display()), hint);
    }
    if error.kind() != std::io::ErrorKind::NotFound {
        return Error::io(path)(error);
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files =
        entries.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|ending| ending == "toml"));
    let stem = |file: PathBuf| Some(file.file_stem()?.to_string_lossy().into_owned());
    let mut names: Vec<String> = files.filter_map(stem).collect();
    names.sort();
    let wrong = path.file_stem().unwrap_or_default().to_string_lossy();
    let beside = |stem: &str| quoted(&path.with_file_name(format!("{stem}.toml")).to_string_lossy());
    let hint = match nearest(&wrong, names.iter().map(String::as_str)) {
        Some(stem) => format!("did you mean {}?", beside(stem)),
        None if names.is_empty() => "lvd init FOLDER writes one for your images".into(),
        None => {
            let some = names.iter().take(5).map(|stem| beside(stem)).collect::<Vec<_>>();
            format!("pipeline files there are: {}", some.join(", "))
        }
    };
    Error::usage(format!("there is no file {}", path.display()), hint)
}

fn place_in(path: &Path, text: &str, offset: Option<usize>) -> String {
    match offset {
        Some(offset) => {
            let line = text[..offset.min(text.len())].matches('\n').count() + 1;
            format!("{}:{line}", path.display())
        }
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, overrides: &[&str]) -> Result<Source> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let path = folder.path().join("p.toml");
        std::fs::write(&path, text).map_err(Error::io(&path))?;
        Source::read(&path, &overrides.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    /// The first fault of a file.
    fn fault(text: &str, overrides: &[&str]) -> Option<Error> {
        match source(text, overrides) {
            Ok(source) => source.parse().faults.into_iter().next(),
            Err(error) => Some(error),
        }
    }

    fn complaint(text: &str) -> String {
        fault(text, &[]).map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let wrong_type = complaint("seed = 1\n[sources.a]\nfolder = 3\n");
        assert!(wrong_type.contains("p.toml:3: sources.a.folder:"), "{wrong_type}");
        let unknown = complaint("seed = 1\n\n[sources.a]\nfolder = \"x\"\nfodler = \"y\"\n");
        assert!(unknown.contains("p.toml:5: sources.a.fodler: is no setting"), "{unknown}");
        let syntax = complaint("seed = 1\nwork = \n");
        assert!(syntax.contains("p.toml:2:"), "{syntax}");
    }

    #[test]
    fn a_slip_is_told_what_was_meant() {
        let hint = |text: &str, overrides: &[&str]| {
            fault(text, overrides).and_then(|error| error.hint().map(str::to_owned)).unwrap_or_default()
        };
        let found = hint("[sources.a]\nfodler = \"y\"\n", &[]);
        assert!(found.starts_with("did you mean `folder`? "), "{found}");
        let found = hint("[sources.a]\nrole = \"sede\"\n", &[]);
        assert!(found.starts_with("did you mean `seed`? "), "{found}");
        let found = hint("[sources.a]\n[embedders.m]\npreset = \"dinov2s\"\n", &[]);
        assert!(found.starts_with("did you mean `dinov2-s`? "), "{found}");
        let found = hint("[sources.a]\nzebra = 1\n", &[]);
        assert!(found.starts_with("lvd config"), "{found}");
        let found = hint("[sources.a]\n[steps.dedup]\n", &["dedpu.threshold=1"]);
        assert!(found.starts_with("did you mean \"dedup\"? "), "{found}");
    }

    #[test]
    fn overrides_reach_steps_and_the_top() -> Result<()> {
        let text = "[sources.a]\nfolder = \"x\"\n[steps.dedup]\nstage = \"dedup\"\n";
        let file = source(text, &["dedup.threshold=0.7", "seed=9", "work=else/where"])?.parse().value.expect("a file");
        assert_eq!(file.seed, 9);
        assert_eq!(file.work, "else/where");
        assert_eq!(file.steps["dedup"]["threshold"].as_float(), Some(0.7));
        let error = source(text, &["dedpu.threshold=1"]).err().map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("no step \"dedpu\"")));
        Ok(())
    }
}
