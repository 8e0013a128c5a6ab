//! `lvd doctor`: what this machine is and whether the libraries make use of it.

use crate::cli::say;
use crate::cli::stop::Stop;
use crate::cli::table::{print, print_json};
use lvd_engines::doctor::Doctor;

/// Prints what was found, and warnings with their cures to stderr.
pub fn doctor(as_json: bool) -> Result<(), Stop> {
    let found = Doctor::examine();
    if as_json {
        return print_json("the findings", &found);
    }
    let runtime = found.onnxruntime.as_ref().map_or_else(
        || "missing".to_owned(),
        |runtime| format!("{} at {} ({})", runtime.version, runtime.path.display(), runtime.providers.join(", ")),
    );
    print(&format!(
        "processor     {}, {} threads\ninstructions  {}\nBLAS          {}, kernel {}\nsgemm         {:.0} GFLOP/s on one thread, {:.0} on {}\nONNX Runtime  {runtime}\nFAISS         {}\n",
        found.processor,
        found.threads,
        found.instruction_sets.join(" "),
        found.blas,
        found.blas_kernel.as_deref().unwrap_or("unknown"),
        found.gflops_one_thread,
        found.gflops_all_threads,
        found.threads,
        if found.faiss { "built in" } else { "left out: retrieve searches exactly" },
    ))?;
    for warning in &found.warnings {
        say::fault("warning: ", warning, warning.hint());
    }
    Ok(())
}
