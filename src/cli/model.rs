//! `lvd model add`: a model is fetched, opened and tried, and the lines for it are printed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::print;
use crate::pipeline::check;
use crate::pipeline::file::EmbedderSettings;
use crate::pipeline::preset::Preset;
use crate::stages::embed::fit::try_model;
use lvd_base::error::Error;
use lvd_engines::onnx::Session;
use lvd_io::digest::sha256_of;
use lvd_io::{download, publish, secret};

/// The side of most encoders' input, for a model that takes any.
const SIDE: usize = 224;

/// What `lvd model` does.
#[derive(Subcommand)]
pub enum ModelCommand {
    /// Fetch or open an ONNX file, try it on pictures, and print its table of a pipeline file
    Add(ModelAddArgs),
}

#[derive(Args)]
pub struct ModelAddArgs {
    /// The ONNX file, or its URL
    #[arg(value_name = "URL|FILE")]
    pub source: String,
    /// The known encoder that it is (docs/models.md)
    #[arg(long, value_parser = preset)]
    pub preset: Option<Preset>,
    /// The embedder's name [default: the file's]
    #[arg(long)]
    pub name: Option<String>,
    /// Where a file from a URL goes
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    pub folder: PathBuf,
}

/// A preset by its name.
fn preset(name: &str) -> Result<Preset, String> {
    let known = Preset::ALL.map(|preset| serde_json::json!(preset).as_str().unwrap_or_default().to_owned());
    let found = known.iter().position(|known| known == name);
    found.map(|at| Preset::ALL[at]).ok_or_else(|| format!("presets are: {}", known.join(", ")))
}

/// Fetches a model where it is a URL, tries it, and prints its table of the pipeline file.
pub fn add(args: &ModelAddArgs) -> Result<(), Stop> {
    let (path, origin) = if args.source.contains("://") {
        let path = args.folder.join(file_name(&args.source)?);
        fetch(&args.source, &path)?;
        (path, format!("  # from {}", secret::shown(&args.source)))
    } else {
        (PathBuf::from(&args.source), String::new())
    };
    if !path.is_file() {
        return Err(Stop::usage(format!("model {} is not there", path.display()), "give a URL, or the path of a file"));
    }
    let name = args.name.clone().unwrap_or_else(|| name_of(&path));
    let mut settings = EmbedderSettings {
        model: Some(std::path::absolute(&path).map_err(Error::io(&path))?),
        preset: args.preset,
        ..EmbedderSettings::default()
    };
    let session = Session::open(&path, 1)?;
    let input = session.input().to_string();
    if settings.preset.is_none() {
        let [_, height, width] = session.picture();
        settings.resize = u32::try_from(height.or(width).unwrap_or(SIDE)).ok();
    }
    drop(session);
    let embedder = check::embedder(&settings).map_err(|fault| Stop::usage(fault.fact, fault.cure))?;
    let fit = try_model(&name, &embedder, &path, 1).map_err(|misfit| {
        let hint = misfit.error.hint().unwrap_or("docs/models.md says what a model has to be like").to_owned();
        Stop::usage(format!("{}: {}", misfit.key, misfit.error), hint)
    })?;
    say!("{}: takes {input}, gives vectors of {} numbers", path.display(), fit.dimension);
    if settings.preset.is_none() {
        say!("no --preset: check `resize`, `mean` and `std` against what the model was trained on");
    }
    let shown = toml::Value::String(path.to_string_lossy().into_owned());
    let input = match (args.preset, settings.resize) {
        (Some(preset), _) => format!("preset = {}\n", serde_json::json!(preset)),
        (None, Some(side)) => format!("resize = {side}\n"),
        (None, None) => String::new(),
    };
    let sha256 = sha256_of(&path)?;
    Ok(print(&format!("[embedders.{name}]\nmodel = {shown}{origin}\nsha256 = \"{sha256}\"\n{input}"))?)
}

/// Downloads a model, unless its file is there.
fn fetch(url: &str, path: &Path) -> Result<(), Stop> {
    if path.exists() {
        say!("{} is there already, and is not fetched again", path.display());
        return Ok(());
    }
    path.parent().map_or(Ok(()), publish::make_folder)?;
    say!("fetching {}", secret::shown(url));
    Ok(download::to_file(url, path)?)
}

/// The last name in a URL's path.
fn file_name(url: &str) -> Result<String, Stop> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.rsplit('/').next().filter(|name| !name.is_empty() && !name.starts_with('.'));
    let fact = || format!("{} names no file", secret::shown(url));
    name.map(str::to_owned).ok_or_else(|| Stop::usage(fact(), "give the URL of the ONNX file itself"))
}

/// A file's name as that of an embedder.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let name = name.trim_start_matches('_').to_owned();
    if name.is_empty() { "model".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files_and_urls() {
        assert_eq!(name_of(Path::new("a/SSCD_disc.mixup v2.onnx")), "sscd_disc_mixup_v2");
        assert_eq!(name_of(Path::new("__.onnx")), "model");
        let named = |url| file_name(url).ok();
        assert_eq!(named("https://u:p@example.org/a/b.onnx?sig=1#x").as_deref(), Some("b.onnx"));
        assert_eq!(named("https://example.org/a/"), None);
        assert_eq!(named("https://example.org/../.."), None);
    }
}
