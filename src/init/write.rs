//! The text of the pipeline file.

use std::fmt::Write as _;
use std::path::Path;

use indicatif::HumanCount;
use toml::{Table, Value};

use super::propose::Proposal;
use super::sources::{Kind, Source};
use crate::pipeline::shell::quoted;
use crate::stages::catalog::Role;
use lvd_base::error::{Error, Result};
use lvd_encoders::Builtin;

/// The pipeline file for some sources.
pub(super) fn text(file: &Path, work: &str, sources: &[Source], proposal: &Proposal) -> Result<String> {
    let mut text = head(file, work, proposal);
    for source in sources {
        text.push_str(&self::source(source)?);
    }
    text.push_str(ENCODERS);
    text.push_str("[steps.ingest]\n\n[steps.embed]\n\n");
    text.push_str(&dedup(&command(file), proposal.whiten));
    text.push_str(&clean(sources, proposal.whiten));
    text.push_str(&not_seeds(sources, proposal.whiten));
    text.push_str(&cluster(proposal));
    text.push_str(&retrieve(sources));
    text.push_str(&sample(proposal));
    text.push_str("# The data set, as shuffled Parquet files.\n[steps.export]\n");
    Ok(text)
}

/// The file as it is typed, on one line.
fn command(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().replace(char::is_control, "?");
    quoted(&name)
}

fn images(n: u64) -> String {
    if n == 1 { "1 image".into() } else { format!("{} images", HumanCount(n)) }
}

/// A number as TOML: `2_100`.
fn number(n: u64) -> String {
    HumanCount(n).to_string().replace(',', "_")
}

fn head(file: &Path, work: &str, proposal: &Proposal) -> String {
    let file = command(file);
    let seeds =
        if proposal.seeds > 0 { format!(" and {} of seeds", HumanCount(proposal.seeds)) } else { String::new() };
    format!(
        "# Written by lvd init for {}{seeds}. Change what you like; paths are relative to this file.
#
#   lvd check {file}      find every mistake now
#   lvd run {file}        all steps; stop it when you like, the same command goes on
#   lvd report {file}     what each step kept and dropped
#
# lvd config explains every setting.
seed = 1
work = {}

",
        images(proposal.pool),
        Value::String(work.to_owned())
    )
}

/// A source, with a `#` before each line where it is only proposed.
fn source(source: &Source) -> Result<String> {
    let mut keys = Table::try_from(&source.settings).map_err(|error| Error::data(&source.name, error))?;
    if source.role == Role::Pool {
        keys.remove("role");
    }
    let keys = toml::to_string(&keys).map_err(|error| Error::data(&source.name, error))?;
    let what = match source.kind {
        Kind::Folder => images(source.images),
        Kind::Tars | Kind::Parquet => format!("{} in {}", images(source.images), files(source.files)),
        Kind::Urls => format!("{} URLs in {}", HumanCount(source.images), files(source.files)),
        Kind::Archives => format!("About {} URLs on pages in {}", HumanCount(source.images), files(source.files)),
    };
    let note = if source.note.is_empty() {
        String::new()
    } else {
        format!(": {}", source.note.replace(char::is_control, "?"))
    };
    let table = format!("[sources.{}]\n{keys}", source.name);
    if !source.commented_out {
        return Ok(format!("# {what}{note}.\n{table}\n"));
    }
    let table = table.lines().fold(String::new(), |text, line| text + "# " + line + "\n");
    Ok(format!(
        "# {what}{note}. They lie beside images, which they may only describe. To fetch them as well,
# take the # away:\n{table}\n"
    ))
}

fn files(n: u64) -> String {
    if n == 1 { "1 file".into() } else { format!("{} files", HumanCount(n)) }
}

const ENCODERS: &str = "\
# No encoder is named here, so the two in the box are used: builtin:copy finds copies,
# builtin:semantic groups and retrieves. To bring others (docs/models.md), name both:
#
# [embedders.copy]
# model = \"sscd_disc_mixup.onnx\"
# preset = \"sscd\"
# [embedders.semantic]
# model = \"dinov2_vitb14.onnx\"
# preset = \"dinov2-b\"

";

fn dedup(file: &str, whiten: bool) -> String {
    let known = Builtin::Copy.copies().and_then(|known| known.of(true, false)).unwrap_or_default();
    let threshold = if whiten {
        format!(
            "# whiten: what most of your images have in common counts less, and more copies are found. The threshold
# is then the one that is known for builtin:copy, {known}.
"
        )
    } else {
        String::new()
    };
    format!(
        "# Of each group of copies the largest picture stays. An image goes only if it is near one that
# stays: chains are cut. Many edited copies are still missed: `lvd look {file}` shows where copies
# end, and `lvd calibrate {file} dedup` measures which threshold finds them on your images.
{threshold}[steps.dedup]
linkage = \"representative\"
{}
",
        nearness(whiten)
    )
}

/// What decides who is near in the pool: of few images, whitening would fit the copies among them,
/// too, and the known threshold misses most.
fn nearness(whiten: bool) -> &'static str {
    if whiten { "whiten = true\n" } else { "threshold = 0.88\n" }
}

/// The names of the sources of a role.
fn named(sources: &[Source], role: Role) -> Vec<&str> {
    let of_role = sources.iter().filter(|source| source.role == role && !source.commented_out);
    of_role.map(|source| source.name.as_str()).collect()
}

fn clean(sources: &[Source], whiten: bool) -> String {
    against(
        &named(sources, Role::Reference),
        "# What may be a copy of an image to keep out goes, with all that it is linked to. The threshold is
# the one that is known against such images, a lower one than within the pool: rather some images
# too many than a copy left.
[steps.clean]",
        if whiten { "whiten = true\n" } else { "" },
    )
}

fn not_seeds(sources: &[Source], whiten: bool) -> String {
    against(
        &named(sources, Role::Seed),
        "# The seeds are in the data set as they are. What is a copy of one goes, or a picture would be in it
# twice: the copies are what retrieve would find first.
[steps.not_seeds]",
        nearness(whiten),
    )
}

/// A step that drops the images of the pool that are copies of these sources'.
fn against(references: &[&str], head: &str, nearness: &str) -> String {
    if references.is_empty() {
        return String::new();
    }
    let references = references.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    format!("{head}\nstage = \"dedup\"\nreferences = [{references}]\n{nearness}\n")
}

fn cluster(proposal: &Proposal) -> String {
    let Proposal { clusters, splits, .. } = proposal;
    if clusters.is_empty() {
        return "# Too few images to group them: there is no [steps.cluster] with clusters = [...].\n\n".into();
    }
    let above = match clusters.len() {
        1 => String::new(),
        2 => ", and a tenth as many groups of groups".to_owned(),
        _ => ", and on each level above a tenth as many".to_owned(),
    };
    let splits = if *splits > 1 { format!("splits = {splits}\n") } else { String::new() };
    let clusters = clusters.iter().map(|level| number(*level)).collect::<Vec<_>>().join(", ");
    format!(
        "# About 30 images a group{above}.
[steps.cluster]
clusters = [{clusters}]
{splits}
"
    )
}

fn retrieve(sources: &[Source]) -> String {
    let mut text = String::new();
    for (nth, seed) in named(sources, Role::Seed).into_iter().enumerate() {
        if nth == 0 {
            text.push_str("# For each seed image the 4 images of the pool that are most like it.\n");
        }
        let _ = write!(text, "[steps.retrieve.sets.{seed}]\nmethod = \"sample\"\nk = 4\n\n");
    }
    text
}

fn sample(proposal: &Proposal) -> String {
    let Proposal { clusters, target, seeds, labels, .. } = proposal;
    let who = if *seeds > 0 { "The seeds, what was retrieved for them, and a draw" } else { "A draw" };
    let how = if clusters.is_empty() { "from what is left" } else { "that is even over the groups" };
    let size = match (seeds, proposal.is_crawl()) {
        (0, false) => "about half of the images",
        (_, false) => "about half of the images, and as many more as there are seeds",
        (_, true) => "about a tenth of the images, as the papers keep of a crawl",
    };
    let labels = if *labels {
        "# Folders never decide what is drawn; the report says how even the draw is over them.\nlabels = \"folder\"\n"
    } else {
        ""
    };
    format!(
        "# {who} {how}.
# Its size is yours to choose: {size}.
[steps.sample]
target = {}
{labels}
",
        number(*target)
    )
}
