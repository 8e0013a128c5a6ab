//! `lvd look`: a page for every step, and where they are.

use crate::cli::choice::position;
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{bytes, print, thousands};
use crate::cli::threads::compute_on;
use crate::look::{self, Written};
use crate::pipeline::steps::Pipeline;

/// Writes the pages of all steps, or of one, and prints the path of the index.
pub fn look(pipeline: &Pipeline, step: Option<&str>, threads: Option<usize>) -> Result<(), Stop> {
    let steps = match step {
        Some(name) => vec![position(pipeline, name)?],
        None => (0..pipeline.steps.len()).collect(),
    };
    let mut any = false;
    for &step in &steps {
        any |= pipeline.store.manifest(&pipeline.steps[step].name)?.is_some();
    }
    if !any {
        let what = step.map_or_else(|| "no step is".to_owned(), |step| format!("step {step:?} is not"));
        return Err(Stop::usage(format!("{what} whole yet"), format!("lvd run {}", pipeline.typed)));
    }
    let index = pages(pipeline, &steps, threads, false)?;
    Ok(print(&index)?)
}

/// Writes the pages of these steps; the path of the index.
pub fn pages(pipeline: &Pipeline, steps: &[usize], threads: Option<usize>, quiet: bool) -> Result<String, Stop> {
    let tell = |page: &Written| {
        if !quiet {
            let pictures = thousands(page.pictures as u64);
            say!("look: {}: {pictures} pictures, {}", page.path, bytes(page.bytes as u64));
        }
    };
    let index = look::write(pipeline, steps, compute_on(threads)?, &tell)?;
    Ok(pipeline.store.work.named(&index.path).display().to_string())
}
