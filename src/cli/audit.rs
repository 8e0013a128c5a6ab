//! `lvd audit`: the images of a set that are in the finished data set, a row each, and their counts.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::FileArgs;
use crate::cli::choice::glance;
use crate::cli::progress::Progress;
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{columns, print, print_json, thousands};
use crate::cli::threads::compute_on;
use crate::search::audit::{self, Answer, Match, Question};

const AFTER: &str = "\
Exit codes: 0 no image was found; 1 it failed; 2 the command or the pipeline file is wrong; 4 some images were found.";

#[derive(Args)]
#[command(after_help = AFTER)]
pub struct AuditArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// The set: a folder of pictures, tars, Parquet files or lists of URLs, or one such file
    #[arg(value_name = "SET")]
    pub images: PathBuf,
    /// Cosine from which two images are called copies [default: that of the dedup step with
    /// `references` or, without one, of the dedup step]
    #[arg(long, value_name = "COSINE")]
    pub threshold: Option<f32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Threads to use; results do not depend on it [default: all]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print errors and warnings only, beside the result
    #[arg(short, long)]
    pub quiet: bool,
}

/// Prints what of a set is in the finished data set.
pub fn audit(args: &AuditArgs) -> Result<(), Stop> {
    let threads = compute_on(args.threads)?;
    let pipeline = glance(&args.file)?;
    let question = Question { set: &args.images, threshold: args.threshold, threads };
    let progress = Progress::new(args.quiet);
    let answer = audit::audit(&pipeline, &question, &|event| progress.tell(&event));
    progress.clear();
    let answer = answer.map_err(Stop::of_user)?;
    if args.json {
        print_json("what was found", &answer)?;
    } else {
        print(&text(&answer, &pipeline.typed))?;
    }
    for left in &answer.left_out {
        say!("not looked at: {} ({})", left.why, thousands(left.files));
    }
    if answer.found.is_empty() { Ok(()) } else { Err(Stop::Found) }
}

fn text(answer: &Answer, file: &str) -> String {
    let mut text = String::new();
    if !answer.found.is_empty() {
        let header = ["", ">cosine", "in the set", "id", "source", "path"];
        text.push_str(&columns(&header, &answer.found.iter().map(row).collect::<Vec<_>>()));
        text.push('\n');
    }
    text.push_str(&columns(&["", ">images", ""], &counts(answer)));
    text.push('\n');
    text.push_str(&notes(answer, file));
    text
}

fn row(found: &Match) -> Vec<String> {
    vec![
        if found.exact { "exact" } else { "near" }.into(),
        format!("{:.4}", found.cosine),
        found.path.clone(),
        format!("{:016x}", found.image.id.0),
        found.image.source.clone(),
        found.image.url.clone(),
    ]
}

fn counts(answer: &Answer) -> Vec<Vec<String>> {
    let line = |name: &str, images: u64, note: String| vec![name.to_owned(), thousands(images), note];
    let mut lines = vec![
        line("read", answer.read, String::new()),
        line("exact copies", answer.exact, "the same file, byte for byte".into()),
        line(
            "near copies",
            answer.near,
            format!("over {}, the threshold {}", answer.threshold.cosine, answer.threshold.of),
        ),
        line("none", answer.none, String::new()),
    ];
    if let Some(next) = &answer.next {
        let nearest = format!("the nearest: {:.4}, {} to {}", next.cosine, next.path, next.image.url);
        lines[3][2] = nearest;
    }
    for unread in &answer.unusable {
        let first = &unread.first;
        let note = format!("{}: {}", first.path, first.detail);
        lines.push(line(&format!("unreadable: {}", unread.reason.name()), unread.images, note));
    }
    lines
}

/// With what the set was compared, and what a search can miss.
fn notes(answer: &Answer, file: &str) -> String {
    let Answer { step, vectors, compared, .. } = answer;
    let whitened = if answer.whitened { ", whitened" } else { "" };
    let recall = match answer.recall_of_threshold {
        Some(recall) => format!("the threshold finds {recall:.3} of the edited copies, by lvd calibrate"),
        None => format!("how many edited copies the threshold finds is not measured: lvd calibrate {file} does that"),
    };
    format!(
        "compared with all {} images of step {step:?}, by {vectors}{whitened}\n\
         recall of the search: {:.1}, every pair is compared; {recall}\n",
        thousands(*compared),
        answer.recall_of_search
    )
}
