//! The embedders: where their models are, and what their input looks like.

use std::path::Path;

use toml::Table;

use crate::pipeline::check::complaints::{Complaints, fault_of};
use crate::pipeline::check::depth::Depth;
use crate::pipeline::check::names::named;
use crate::pipeline::file::{EmbedderSettings, File};
use crate::pipeline::preset::{Constants, IMAGENET, Preset};
use crate::stages::catalog::{Catalog, Embedder, Model};
use crate::stages::kind::StageKind;
use lvd_base::error::{Fault, choices};
use lvd_encoders::{Builtin, PREFIX};
use lvd_io::digest::sha256_cached;
use lvd_io::model::{external, weights};
use lvd_io::secret;
use lvd_ops::preprocess::{Interpolation, Preprocess, Resize};

/// The cure for a model that cannot be read.
const READABLE: &str = "make it readable";

/// Adds the embedders of the file to the catalog.
pub fn embedders(file: &File, base: &Path, depth: Depth, catalog: &mut Catalog, complaints: &mut Complaints) {
    let in_the_box = if file.embedders.is_empty() && embeds(file) { in_the_box() } else { Vec::new() };
    for (name, settings) in file.embedders.iter().chain(in_the_box.iter().map(|(name, settings)| (name, settings))) {
        match named(name).and_then(|()| embedder(settings, base, depth)) {
            Ok(embedder) => {
                if let Model::File(path) = &embedder.model
                    && depth > Depth::File
                {
                    is_there(path, &["embedders", name, "model"], complaints);
                }
                catalog.embedders.insert(name.clone(), embedder);
            }
            // What a setting that was left out brings only follows.
            Err(_) if complaints.broken.contains(name) => {}
            Err(fault) => complaints.fault(&["embedders", name], fault),
        }
    }
}

/// Whether a pipeline embeds anything.
fn embeds(file: &File) -> bool {
    let embed = StageKind::Embed.name();
    let stage = |(name, settings): (&String, &Table)| match settings.get("stage") {
        Some(stage) => stage.as_str() == Some(embed),
        None => name == embed,
    };
    file.steps.iter().any(stage)
}

/// The embedders of a file that names none.
fn in_the_box() -> Vec<(String, EmbedderSettings)> {
    let settings = |builtin: Builtin| {
        let model = Some(format!("{PREFIX}{}", builtin.name()).into());
        EmbedderSettings { model, ..EmbedderSettings::default() }
    };
    Builtin::ALL.into_iter().map(|builtin| (builtin.name().to_owned(), settings(builtin))).collect()
}

/// The encoder in the box that a model is named after; `None`: the name is a path.
fn builtin(model: &Path) -> Result<Option<Builtin>, Fault> {
    let Some(name) = model.to_str().and_then(|model| model.strip_prefix(PREFIX)) else { return Ok(None) };
    let found = Builtin::ALL.into_iter().find(|builtin| builtin.name() == name);
    let names = Builtin::ALL.map(Builtin::name);
    let cure = || choices(name, &format!("built in are: {}", names.join(", ")), names);
    found.map(Some).ok_or_else(|| Fault::new(format!("there is no built-in encoder {name:?}"), cure()))
}

/// Notes what of a model is not there: its file, or the weights beside it.
fn is_there(path: &Path, keys: &[&str], complaints: &mut Complaints) {
    if !path.is_file() {
        let cure = "paths are relative to the pipeline file; docs/models.md says how to get one";
        return complaints.missing(keys, Fault::new(format!("model {} is not there", path.display()), cure));
    }
    match external(path).map(|_| weights(path)) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => complaints.missing(keys, fault_of(&error, READABLE)),
        Err(error) => complaints.fault(keys, fault_of(&error, READABLE)),
    }
}

fn complain<T>(fact: impl Into<String>, cure: &str) -> Result<T, Fault> {
    Err(Fault::new(fact, cure))
}

/// Where an embedder's model is.
fn model(settings: &EmbedderSettings, base: &Path, depth: Depth) -> Result<Model, Fault> {
    let expected = settings.sha256.as_ref().map(|hash| hash.to_lowercase());
    if let Some(expected) = expected.as_ref().filter(|hash| !is_sha256(hash)) {
        return complain(format!("sha256 {expected:?} is no SHA-256"), "give the 64 digits that sha256sum prints");
    }
    let builtin = settings.model.as_deref().map_or(Ok(None), builtin)?;
    if let Some(builtin) = builtin {
        let alone = settings.url.is_none() && expected.is_none();
        return if alone { Ok(Model::Builtin(builtin)) } else { complain("is built in", "remove `url` and `sha256`") };
    }
    match (&settings.model, &settings.url, expected) {
        (Some(path), None, expected) => {
            let path = base.join(path);
            if let Some(expected) = expected.filter(|_| depth > Depth::File && path.is_file()) {
                let got = sha256_cached(&path).map_err(|error| fault_of(&error, READABLE))?;
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
        (None, Some(_), None) => {
            complain("a `url` needs a `sha256`", "set it to what sha256sum prints of the file, once you trust it")
        }
        (Some(_), Some(_), _) => complain("has both `model` and `url`", "remove one of them"),
        (None, None, _) => complain("needs either `model` or `url`", "say where the ONNX file is"),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// What is wrong with the numbers of an embedder.
fn number_fault(mean: [f32; 3], std: [f32; 3], dims: Option<u32>) -> Option<Fault> {
    if mean.iter().any(|mean| !(0.0..=1.0).contains(mean)) {
        let hint = "use the mean of values from 0 to 1: one of levels up to 255 has to be divided by 255";
        return Some(Fault::new(format!("a mean of {mean:?}"), hint));
    }
    // A deviation that makes infinities is none.
    if std.iter().any(|std| !(1e-6..=10.0).contains(std)) {
        let hint = "use the deviation of values from 0 to 1: one of levels up to 255 has to be divided by 255";
        return Some(Fault::new(format!("a standard deviation of {std:?}"), hint));
    }
    let dims = dims.filter(|&dims| dims < 2)?;
    let fact = format!("vectors of {dims} numbers, whose cosines say nothing");
    Some(Fault::new(fact, "set `dims` to 2 or more, or leave it out"))
}

/// What a table of settings says of an embedder.
pub fn embedder(settings: &EmbedderSettings, base: &Path, depth: Depth) -> Result<Embedder, Fault> {
    let model = model(settings, base, depth)?;
    let preset = match &model {
        Model::Builtin(_) if settings.preset.is_some() => {
            return complain("a built-in encoder has its own `preset`", "remove `preset`");
        }
        Model::Builtin(builtin) => Some(Constants::of(*builtin)),
        _ => settings.preset.map(Preset::constants),
    };
    let (mean, std) = preset.map_or(IMAGENET, |preset| preset.norm);
    let Some(side) = settings.resize.or(preset.map(|preset| preset.resize)) else {
        return complain(
            "needs `resize` or a `preset`",
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
        copies: preset.and_then(|preset| preset.copies),
    })
}
