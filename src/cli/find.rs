//! `lvd find`: the nearest images of the pool to a picture, as a table and, on wish, as a page.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::cli::args::FileArgs;
use crate::cli::choice::glance;
use crate::cli::progress::Progress;
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{columns, print, print_json, thousands};
use crate::cli::threads::compute_on;
use crate::look;
use crate::search::Image;
use crate::search::find::{self, Answer, Found, Near, Question};
use lvd_base::error::Error;

#[derive(Args)]
pub struct FindArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Pictures
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Neighbours of each picture, 1 to 1000
    #[arg(short, value_name = "N", default_value_t = 10)]
    pub k: usize,
    /// The vectors to search, STEP or STEP/EMBEDDER [default: those that dedup compares, or those of
    /// the encoder for copies]
    #[arg(long, value_name = "EMBED")]
    pub step: Option<String>,
    /// Write a page with the pictures, too, and print its path
    #[arg(long)]
    pub look: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "look")]
    pub json: bool,
    /// Threads to use; results do not depend on it [default: all]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print errors and warnings only, beside the result
    #[arg(short, long)]
    pub quiet: bool,
}

/// Prints the neighbours of pictures.
pub fn find(args: &FindArgs) -> Result<(), Stop> {
    let threads = compute_on(args.threads)?;
    let pipeline = glance(&args.file)?;
    let question = Question { pictures: &args.images, k: args.k, vectors: args.step.as_deref(), threads };
    let progress = Progress::new(args.quiet);
    let answer = find::find(&pipeline, &question, &|event| progress.tell(&event));
    progress.clear();
    let answer = answer.map_err(Stop::of_user)?;
    if args.json {
        print_json("what was found", &answer)?;
    } else if !answer.pictures.is_empty() {
        print(&text(&answer, &pipeline.typed))?;
    }
    if args.look && !answer.pictures.is_empty() {
        let page = look::write_found(&pipeline, &answer, threads)?;
        print(&format!("\npage: {}\n", pipeline.store.work.named(&page.path).display()))?;
    }
    for unusable in &answer.unusable {
        say!("error: {}: {}: {}", unusable.path, unusable.reason.name(), unusable.detail);
    }
    match (answer.unusable.len(), args.images.len()) {
        (0, _) => Ok(()),
        (some, all) => {
            let fact = format!("{some} of {all} files cannot be compared");
            Err(Stop::Failed(Error::usage(fact, "name pictures that ingest would take (docs/ingest.md)")))
        }
    }
}

fn text(answer: &Answer, file: &str) -> String {
    let mut text = String::new();
    for found in &answer.pictures {
        let Found { path, width, height, nearest, .. } = found;
        let whitened = if answer.whitened { ", whitened" } else { "" };
        let _ = writeln!(
            text,
            "{path}: {width} x {height}, compared with {} images of {}{whitened}\n",
            thousands(answer.compared),
            answer.vectors
        );
        let header = ["", ">rank", ">cosine", "id", "source", "path", "became"];
        text.push_str(&columns(&header, &nearest.iter().map(row).collect::<Vec<_>>()));
        let _ = writeln!(text, "\n{}\n", answer.verdict(found, file));
    }
    text.truncate(text.trim_end().len());
    text
}

fn row(near: &Near) -> Vec<String> {
    let Image { id, source, url, .. } = &near.image;
    vec![
        near.kin().into(),
        near.rank.to_string(),
        format!("{:.4}", near.cosine),
        format!("{:016x}", id.0),
        source.clone(),
        url.clone(),
        near.became.to_string(),
    ]
}
