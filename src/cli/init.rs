//! `lvd init`: what was found and what was left out on standard output, what to type next on
//! standard error.

use std::path::PathBuf;

use clap::Args;

use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{bytes, columns, print, print_json, thousands};
use crate::init::{self, Outcome, Wanted};
use crate::pipeline::shell::typed;

#[derive(Args)]
pub struct InitArgs {
    /// Your images: a folder of pictures, tars, Parquet files or lists of URLs, or one such file
    pub folder: PathBuf,
    /// Curated images: they go in as they are, and more like them are looked for; may be given
    /// several times
    #[arg(long, value_name = "FOLDER")]
    pub seed: Vec<PathBuf>,
    /// Images to keep out, such as a test set: copies of them go; may be given several times
    #[arg(long, value_name = "FOLDER")]
    pub reference: Vec<PathBuf>,
    /// The pipeline file [default: NAME.toml here, called like the folder]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Overwrite the pipeline file
    #[arg(long)]
    pub force: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// Writes a pipeline file for what is in a folder.
pub fn init(args: InitArgs) -> Result<(), Stop> {
    let InitArgs { folder, seed, reference, out, force, json } = args;
    let wanted = Wanted { folder, seeds: seed, references: reference, out, force };
    let outcome = init::init(&wanted).map_err(Stop::of_user)?;
    let file = typed(&outcome.file, &[], None);
    if json {
        print_json("what was found", &outcome)?;
    } else {
        print(&found(&outcome))?;
    }
    say!("wrote {file}: a data set of about {} images", thousands(outcome.proposal.target));
    say!("next:\n  lvd run {file}\n  lvd report {file}");
    Ok(())
}

/// What was found, a source a line, and what was left out, a reason a line.
fn found(outcome: &Outcome) -> String {
    let sources = outcome.sources.iter().filter(|source| !source.commented_out).map(|source| {
        vec![
            source.name.clone(),
            source.role.name().into(),
            source.kind.name().into(),
            thousands(source.files),
            thousands(source.images),
            bytes(source.bytes),
            source.note.clone(),
        ]
    });
    let header = ["source", "role", "kind", ">files", ">images", ">size", ""];
    let mut text = columns(&header, &sources.collect::<Vec<_>>());
    let left_out = outcome.left_out.iter().map(|left| vec![left.why.clone(), thousands(left.files), bytes(left.bytes)]);
    let left_out: Vec<_> = left_out.collect();
    if !left_out.is_empty() {
        text.push('\n');
        text.push_str(&columns(&["left out", ">files", ">size"], &left_out));
    }
    text
}
