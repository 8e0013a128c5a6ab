//! From a pipeline file to a pipeline that can run, or to everything that is wrong with it.

use std::any::Any;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use toml::{Table, Value};

use crate::pipeline::engine::slurm::settings::{AllSettings, Settings};
use crate::pipeline::file::{EmbedderSettings, File, Source, SourceSettings};
use crate::pipeline::models;
use crate::pipeline::preset::{IMAGENET, Preset};
use crate::pipeline::store::Store;
use crate::stages::catalog::{Catalog, Embedder, Model, SourceEntry};
use crate::stages::scope::{Above, Scope};
use crate::stages::{Phase, Stage, StageKind, cluster, dedup, embed, export, ingest, retrieve, sample};
use lvd_base::error::{Error, Result, choices};
use lvd_io::digest::sha256_cached;
use lvd_io::model::{external, weights};
use lvd_io::secret;
use lvd_io::sources::Source as ImageSource;
use lvd_ops::preprocess::{Interpolation, Preprocess, Resize};

/// A configured stage.
pub struct Step {
    /// Its name, and its folder's.
    pub name: String,
    /// Its settings.
    pub stage: Box<dyn Stage>,
    /// The same as the file gives them, for the summary.
    pub settings: Table,
}

/// A pipeline whose every setting was looked at.
pub struct Pipeline {
    /// The file it came from.
    pub path: PathBuf,
    /// The same as text, to name places in it.
    pub source: Source,
    /// Its work folder.
    pub store: Store,
    /// Sources and models.
    pub catalog: Catalog,
    /// Steps in the order they run.
    pub steps: Vec<Step>,
    /// Sources whose size the file declares, and models, that are not there: enough to plan by, not to run.
    pub missing: Vec<Error>,
    /// Images of each source: counted, or as declared.
    pub sizes: IndexMap<String, u64>,
    /// How tasks run on Slurm.
    pub slurm: AllSettings,
}

/// Reads and checks a pipeline file. The faults come all at once.
pub fn load(path: &Path, overrides: &[String], work: Option<&str>) -> std::result::Result<Pipeline, Vec<Error>> {
    read(path, overrides, work, &|_, _, _, _| Vec::new())
}

/// The same, and everything that the file names is opened and tried: its models and its work folder.
pub fn examine(path: &Path, overrides: &[String], work: Option<&str>) -> std::result::Result<Pipeline, Vec<Error>> {
    read(path, overrides, work, &|catalog, steps, store, source| {
        let unwritable = store
            .work
            .try_to_write()
            .err()
            .map(|error| source.fault(&["work".into()], error.to_string(), OTHER_WORK.into()));
        unwritable.into_iter().chain(models::faults(catalog, steps, store, source)).collect()
    })
}

/// The work folder of the command line or, without one, of the file.
fn store(of_file: &str, work: Option<&str>, base: &Path) -> Result<Store> {
    match work {
        Some(work) => Store::open(work),
        None if of_file.contains("://") => Store::open(of_file),
        None => Store::open(&base.join(of_file).to_string_lossy()),
    }
}

/// The cure for a work folder that cannot be used.
const OTHER_WORK: &str = "name another folder by `work` or --work, or make this one writable";

/// What else is wrong, found by trying.
type Trial<'a> = &'a dyn Fn(&Catalog, &[Step], &Store, &Source) -> Vec<Error>;

fn read(
    path: &Path,
    overrides: &[String],
    work: Option<&str>,
    trial: Trial,
) -> std::result::Result<Pipeline, Vec<Error>> {
    let source = Source::read(path, overrides).map_err(|e| vec![e])?;
    let file = source.parse().map_err(|e| vec![e])?;
    let base = path.parent().unwrap_or(Path::new(""));
    let store = store(&file.work, work, base).map_err(|e| vec![e])?;
    let unreadable =
        |e: Error| vec![source.fault(&["work".into()], e.to_string(), e.hint().unwrap_or(OTHER_WORK).into())];
    let numbers = store.dataset_numbers(file.sources.keys()).map_err(unreadable)?;
    let mut faults = Vec::new();
    let mut missing = Vec::new();
    let mut sizes = IndexMap::new();
    if !(file.scale > 0.0 && file.scale.is_finite()) {
        faults.push(source.fault(&["scale".into()], format!("a scale of {}", file.scale), "use 1, or less".into()));
    }
    let mut catalog = Catalog { seed: file.seed, ..Catalog::default() };
    if file.sources.is_empty() {
        faults.push(source.fault(
            &["sources".into()],
            "no source of images".into(),
            "add a [sources.NAME] with a `folder`".into(),
        ));
    }
    for (name, settings) in &file.sources {
        let keys = ["sources".to_owned(), name.clone()];
        let images = || image_source(settings, base, &[store.work.root(), path]);
        let found = name_fault(name).map_or(Ok(()), Err).and_then(|()| images());
        let counted = found.and_then(|images| match images.check() {
            Ok(0) => Err(nothing_in(&images)),
            Ok(rows) => Ok((images, rows)),
            Err(error) => {
                let hint = match &error {
                    Error::Data { .. } => "is the file whole, and what its name says?",
                    _ => "paths are relative to the pipeline file",
                };
                Err((error.to_string(), error.hint().unwrap_or(hint).to_owned()))
            }
        });
        match counted {
            Ok((images, rows)) => {
                sizes.insert(name.clone(), rows);
                catalog.sources.insert(name.clone(), SourceEntry::new(numbers[name], settings.role, images));
            }
            Err((message, hint)) => match (settings.images, images()) {
                (Some(rows), Ok(images)) => {
                    sizes.insert(name.clone(), rows);
                    catalog.sources.insert(name.clone(), SourceEntry::new(numbers[name], settings.role, images));
                    missing.push(source.fault(&keys, message, hint));
                }
                _ => faults.push(source.fault(&keys, message, hint)),
            },
        }
    }
    embedders(&file, &source, base, &mut catalog, &mut missing, &mut faults);
    // A fault above would come again as faults of every step that refers to it.
    if !faults.is_empty() {
        faults.extend(missing);
        faults.extend(trial(&catalog, &[], &store, &source));
        return Err(faults);
    }
    let mut above: IndexMap<String, Above> = IndexMap::new();
    let mut steps = Vec::new();
    for (name, settings) in &file.steps {
        match step(name, settings, &source) {
            Ok(mut stage) => {
                let mut scope = Scope {
                    catalog: &catalog,
                    sizes: &sizes,
                    scale: file.scale,
                    above: &above,
                    step: name,
                    faults: Vec::new(),
                };
                stage.check(&mut scope);
                faults
                    .extend(scope.faults.into_iter().map(|fault| source.fault(&fault.key, fault.message, fault.hint)));
                let found = Above {
                    kind: stage.kind(),
                    tables: tables(settings, &catalog, stage.kind()),
                    levels: levels(stage.as_ref()),
                    references: stage.references().to_vec(),
                    compares: stage.compares().map(<[String]>::to_vec),
                };
                above.insert(name.clone(), found);
                steps.push(Step { name: name.clone(), stage, settings: settings.clone() });
            }
            Err(error) => faults.push(error),
        }
    }
    let slurm = slurm(file.engine.slurm, &steps, &source).unwrap_or_else(|found| {
        faults.extend(found);
        AllSettings::default()
    });
    faults.extend(trial(&catalog, &steps, &store, &source));
    if faults.is_empty() {
        Ok(Pipeline { path: path.to_path_buf(), source, store, catalog, steps, missing, sizes, slurm })
    } else {
        faults.extend(missing);
        Err(faults)
    }
}

/// The embedders of the file; a model that is not there is `missing`.
fn embedders(
    file: &File,
    source: &Source,
    base: &Path,
    catalog: &mut Catalog,
    missing: &mut Vec<Error>,
    faults: &mut Vec<Error>,
) {
    for (name, settings) in &file.embedders {
        match name_fault(name).map_or(Ok(()), Err).and_then(|()| embedder(settings, base)) {
            Ok(embedder) => {
                let keys = ["embedders".into(), name.clone(), "model".into()];
                match &embedder.model {
                    Model::File(path) if !path.is_file() => {
                        let message = format!("model {} is not there", path.display());
                        let hint = "paths are relative to the pipeline file; docs/models.md says how to get one".into();
                        missing.push(source.fault(&keys, message, hint));
                    }
                    Model::File(path) => {
                        let fault = |error: Error| {
                            source.fault(&keys, error.to_string(), error.hint().unwrap_or("make it readable").into())
                        };
                        match external(path) {
                            Ok(_) => missing.extend(weights(path).err().map(fault)),
                            Err(error) => faults.push(fault(error)),
                        }
                    }
                    Model::Url { .. } => {}
                }
                catalog.embedders.insert(name.clone(), embedder);
            }
            Err((message, hint)) => faults.push(source.fault(&["embedders".into(), name.clone()], message, hint)),
        }
    }
}

/// `[engine.slurm]` with its overrides.
fn slurm(mut table: Table, steps: &[Step], source: &Source) -> std::result::Result<AllSettings, Vec<Error>> {
    let at = ["engine".to_owned(), "slurm".to_owned()];
    let mut faults = Vec::new();
    let mut parse = |keys: &[String], table: Table| {
        let settings: Settings = source.parse_at(keys, table).map_err(|error| faults.push(error)).unwrap_or_default();
        for (key, message, hint) in settings.faults() {
            faults.push(source.fault(&[keys, &[key.to_owned()]].concat(), message, hint.into()));
        }
        settings
    };
    let overrides = table.remove("overrides");
    let base = parse(&at, table);
    let mut all = AllSettings { base, ..AllSettings::default() };
    let mut unknown = Vec::new();
    for (name, over) in overrides.as_ref().and_then(Value::as_table).into_iter().flatten() {
        let keys = [&at[..], &["overrides".to_owned(), name.clone()]].concat();
        let known = name == "driver"
            || steps.iter().any(|step| {
                let exact = |phase: &&Phase| *name == format!("{}/{}", step.name, phase.name);
                *name == step.name
                    || name == step.stage.kind().name()
                    || step.stage.phases().iter().find(exact).is_some()
            });
        match over.as_table() {
            Some(over) if known => {
                all.overrides.insert(name.clone(), parse(&keys, over.clone()));
            }
            _ => unknown.push(keys),
        }
    }
    if overrides.is_some_and(|value| !value.is_table()) {
        unknown.push([&at[..], &["overrides".to_owned()]].concat());
    }
    for keys in unknown {
        let names = steps.iter().flat_map(|step| [step.name.as_str(), step.stage.kind().name()]).chain(["driver"]);
        let hint = "an override is a table, named by a stage, a step, a \"step/phase\", or `driver`";
        let hint = choices(keys.last().map_or("", String::as_str), hint, names);
        faults.push(source.fault(&keys, "is no override of this pipeline".into(), hint));
    }
    if faults.is_empty() { Ok(all) } else { Err(faults) }
}

/// A message and a hint.
type Complaint = (String, String);

/// Names become folders and parts of table names.
fn name_fault(name: &str) -> Option<Complaint> {
    let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !name.starts_with('_')
        && !name.is_empty();
    (!fine).then(|| (format!("{name:?} is no name"), "use letters, digits, - and _, not starting with _".into()))
}

fn step(name: &str, settings: &Table, source: &Source) -> Result<Box<dyn Stage>> {
    let keys = ["steps".to_owned(), name.to_owned()];
    if let Some((message, hint)) = name_fault(name) {
        return Err(source.fault(&keys, message, hint));
    }
    let mut settings = settings.clone();
    let kinds = StageKind::ALL.map(StageKind::name).join(", ");
    // A step that is called like a stage need not say so.
    let stage = settings.remove("stage").unwrap_or_else(|| Value::String(name.to_owned()));
    let kind = StageKind::ALL.into_iter().find(|kind| Some(kind.name()) == stage.as_str());
    let kind = kind.ok_or_else(|| {
        let wrong = stage.as_str().unwrap_or_default();
        let hint = choices(wrong, &format!("set `stage` to one of: {kinds}"), StageKind::ALL.map(StageKind::name));
        source.fault(&keys, format!("stage {stage} does not exist"), hint)
    })?;
    Ok(match kind {
        StageKind::Ingest => Box::new(source.parse_at::<ingest::Ingest>(&keys, settings)?),
        StageKind::Embed => Box::new(source.parse_at::<embed::Embed>(&keys, settings)?),
        StageKind::Dedup => Box::new(source.parse_at::<dedup::Dedup>(&keys, settings)?),
        StageKind::Cluster => Box::new(source.parse_at::<cluster::Cluster>(&keys, settings)?),
        StageKind::Retrieve => Box::new(source.parse_at::<retrieve::Retrieve>(&keys, settings)?),
        StageKind::Sample => Box::new(source.parse_at::<sample::Sample>(&keys, settings)?),
        StageKind::Export => Box::new(source.parse_at::<export::Export>(&keys, settings)?),
    })
}

/// The tables of vectors an embed step gives.
fn tables(settings: &Table, catalog: &Catalog, kind: StageKind) -> Vec<String> {
    match (kind, settings.get("embedders").and_then(Value::as_array)) {
        (StageKind::Embed, Some(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        (StageKind::Embed, None) => catalog.embedders.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The levels of a cluster step.
fn levels(stage: &dyn Any) -> usize {
    stage.downcast_ref::<cluster::Cluster>().map_or(0, |cluster| cluster.clusters.len())
}

/// A source that gives no image.
fn nothing_in(images: &ImageSource) -> Complaint {
    let fact = match images {
        ImageSource::Folder { path, .. } => format!("{}: no file in this folder", path.display()),
        ImageSource::Urls { .. } => "its lists have no rows".into(),
        ImageSource::Parquet { .. } => "its Parquet files have no rows".into(),
        ImageSource::Tar { .. } => "its tars have no images".into(),
    };
    (fact, "put images there, or take the source out of this file".into())
}

/// The source of `settings`; `ours` are the work folder and the pipeline file, which hold no images of the user's.
fn image_source(settings: &SourceSettings, base: &Path, ours: &[&Path]) -> std::result::Result<ImageSource, Complaint> {
    let all = |paths: &[PathBuf]| paths.iter().map(|path| base.join(path)).collect::<Vec<_>>();
    let only_for = |set: bool, key: &str, kind: &str| {
        if set { Err((format!("`{key}` is for `{kind}` only"), format!("remove `{key}`"))) } else { Ok(()) }
    };
    match (&settings.folder, &settings.urls, &settings.parquet, &settings.tars) {
        (Some(folder), None, None, None) => {
            only_for(settings.caption_column.is_some(), "caption_column", "urls`, `parquet` and `tars")?;
            only_for(settings.url_column.is_some(), "url_column", "urls")?;
            only_for(settings.format.is_some(), "format", "urls")?;
            only_for(settings.image_column.is_some(), "image_column", "parquet")?;
            let path = base.join(folder);
            let real = |path: &Path| std::fs::canonicalize(path).ok();
            if ours.iter().any(|ours| real(ours).is_some_and(|ours| Some(ours) == real(&path))) {
                let hint = "give `work` a folder of its own; it may lie in this one, and is left out then";
                return Err((format!("{}: the work folder is this folder", path.display()), hint.into()));
            }
            Ok(ImageSource::Folder { path, except: ours.iter().map(|&path| path.to_path_buf()).collect() })
        }
        (None, Some(files), None, None) => {
            only_for(settings.image_column.is_some(), "image_column", "parquet")?;
            Ok(ImageSource::Urls {
                files: all(files),
                format: settings.format,
                url_column: settings.url_column.clone().unwrap_or_else(|| "url".into()),
                caption_column: settings.caption_column.clone(),
            })
        }
        (None, None, Some(files), None) => {
            only_for(settings.url_column.is_some(), "url_column", "urls")?;
            only_for(settings.format.is_some(), "format", "urls")?;
            Ok(ImageSource::Parquet {
                files: all(files),
                image_column: settings.image_column.clone().unwrap_or_else(|| "image".into()),
                caption_column: settings.caption_column.clone(),
            })
        }
        (None, None, None, Some(files)) => {
            only_for(settings.url_column.is_some(), "url_column", "urls")?;
            only_for(settings.format.is_some(), "format", "urls")?;
            only_for(settings.image_column.is_some(), "image_column", "parquet")?;
            Ok(ImageSource::Tar { files: all(files), caption_key: settings.caption_column.clone() })
        }
        _ => Err((
            "needs exactly one of `folder`, `urls`, `parquet` and `tars`".into(),
            "say where its images are".into(),
        )),
    }
}

/// Where an embedder's model is.
fn model(settings: &EmbedderSettings, base: &Path) -> std::result::Result<Model, Complaint> {
    let complain = |message: String, hint: &str| Err((message, hint.to_owned()));
    let expected = settings.sha256.as_ref().map(|hash| hash.to_lowercase());
    if let Some(expected) = expected.as_ref().filter(|hash| !is_sha256(hash)) {
        return complain(format!("sha256 {expected:?} is no SHA-256"), "give the 64 digits that sha256sum prints");
    }
    match (&settings.model, &settings.url, expected) {
        (Some(path), None, expected) => {
            let path = base.join(path);
            if let (Some(expected), true) = (expected, path.is_file()) {
                let got = sha256_cached(&path).map_err(|e| (e.to_string(), "make it readable".to_owned()))?;
                if got != expected {
                    return complain(
                        format!("SHA-256 of {} is {got}, not {expected}", path.display()),
                        "is it the right file? if it changed on purpose, set its new `sha256`",
                    );
                }
            }
            Ok(Model::File(path))
        }
        (None, Some(url), Some(sha256)) => {
            let web = reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !web {
                return complain(format!("{:?} is no URL of http or https", secret::shown(url)), "check the `url`");
            }
            Ok(Model::Url { url: url.clone(), sha256 })
        }
        (None, Some(_), None) => complain(
            "a `url` needs a `sha256`".into(),
            "set it to what sha256sum prints of the file, once you trust it",
        ),
        (Some(_), Some(_), _) => complain("has both `model` and `url`".into(), "remove one of them"),
        (None, None, _) => complain("needs either `model` or `url`".into(), "say where the ONNX file is"),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// What is wrong with the numbers of an embedder.
fn number_fault(mean: [f32; 3], std: [f32; 3], dims: Option<u32>) -> Option<Complaint> {
    if mean.iter().any(|mean| !(0.0..=1.0).contains(mean)) {
        let hint = "use the mean of values from 0 to 1: one of levels up to 255 has to be divided by 255";
        return Some((format!("a mean of {mean:?}"), hint.into()));
    }
    // A deviation that makes infinities is none.
    if std.iter().any(|std| !(1e-6..=10.0).contains(std)) {
        let hint = "use the deviation of values from 0 to 1: one of levels up to 255 has to be divided by 255";
        return Some((format!("a standard deviation of {std:?}"), hint.into()));
    }
    let dims = dims.filter(|&dims| dims < 2)?;
    Some((
        format!("vectors of {dims} numbers, whose cosines say nothing"),
        "set `dims` to 2 or more, or leave it out".into(),
    ))
}

fn embedder(settings: &EmbedderSettings, base: &Path) -> std::result::Result<Embedder, Complaint> {
    let complain = |message: String, hint: &str| Err((message, hint.to_owned()));
    let model = model(settings, base)?;
    let preset = settings.preset.map(Preset::constants);
    let (mean, std) = preset.map_or(IMAGENET, |preset| preset.norm);
    let Some(side) = settings.resize.or(preset.map(|preset| preset.resize)) else {
        return complain(
            "needs `resize` or a `preset`".into(),
            "the model's documentation says which input it was trained on",
        );
    };
    // A crop that a preset brings does not outlive another `resize`.
    let crop = settings.crop.unwrap_or(match preset {
        Some(preset) if settings.resize.is_none() => preset.crop,
        _ => side,
    });
    if !(1..=4096).contains(&side) || !(1..=4096).contains(&crop) {
        return complain(format!("resize {side}, crop {crop}: out of range"), "use 1 to 4096 pixels");
    }
    let (mean, std) = (settings.mean.unwrap_or(mean), settings.std.unwrap_or(std));
    if let Some(complaint) = number_fault(mean, std, settings.dims) {
        return Err(complaint);
    }
    Ok(Embedder {
        model,
        preprocess: Preprocess {
            resize: if settings.squash.unwrap_or(preset.is_some_and(|preset| preset.squash)) {
                Resize::Squash(side)
            } else {
                Resize::ShortEdge(side)
            },
            crop,
            mean,
            std,
            interpolation: settings.interpolation.unwrap_or(Interpolation::Bicubic),
        },
        normalised: settings.mean.is_some() || settings.std.is_some(),
        output: settings.output.clone(),
        dims: settings.dims.or(preset.and_then(|preset| preset.dims)),
        operations: preset.and_then(|preset| preset.operations),
        thresholds_known: preset.is_some_and(|preset| preset.thresholds_known),
    })
}
