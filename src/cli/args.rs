//! The arguments, and the help that teaches them.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::cli::audit::AuditArgs;
use crate::cli::find::FindArgs;
use crate::cli::init::InitArgs;
use crate::cli::model::ModelCommand;

const AFTER: &str = "\
Start here, with your own photos:
  lvd init photos                   look at the folder, and write photos.toml
  lvd run photos.toml               curate it: every step, in order; what is done is skipped
  lvd report photos.toml            what each step did
  lvd look photos.toml              pages that show it, to open in a browser

Or with the built-in example:
  lvd example demo                  make a small crawl with its ground truth, and a pipeline file for it
  lvd run demo/quickstart.toml      curate it
  lvd plan demo/quickstart.toml --set dedup.threshold=0.9    what a change would run again

Exit codes: 0 all went well; 1 a step failed; 2 the command or the pipeline file is wrong; 3 too many rows failed; 4 lvd audit found images.";

/// Curate image datasets for self-supervised training: from raw images to balanced Parquet shards
#[derive(Parser)]
#[command(name = "lvd", version, after_help = AFTER, max_term_width = 110)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Look at a folder of images, and write a pipeline file that fits it
    Init(InitArgs),
    /// Bring all steps of a pipeline up to date, or a range of them
    Run {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        run: RunArgs,
        /// First step to run
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Last step to run
        #[arg(long, value_name = "STEP")]
        to: Option<String>,
    },
    /// Fetch the images of the sources, check and store them
    Ingest(StageArgs),
    /// Turn images into vectors with ONNX models
    Embed(EmbedArgs),
    /// Find copies among the pool, or copies of reference images
    Dedup(StageArgs),
    /// Group the pool by k-means
    Cluster(StageArgs),
    /// Find the pool images that are like the seed images
    Retrieve(StageArgs),
    /// Choose the data set: seeds, retrieved, and a balanced draw
    Sample(StageArgs),
    /// Write the data set as shuffled Parquet shards
    Export(StageArgs),
    /// Check a pipeline file, everything it names and every number in it; run nothing
    Check {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Show what `run` would do, and why; touch nothing
    Plan {
        #[command(flatten)]
        file: FileArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// For other schedulers: close the steps that are whole, open the phases that can run, and
        /// print their tasks
        #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
        tasks: Option<TaskFormat>,
        #[command(flatten)]
        estimate: EstimateArgs,
        /// With --tasks: let ingested images and vectors be replaced, where the file no longer
        /// describes them
        #[arg(long, requires = "tasks")]
        replace: bool,
    },
    /// Show how far each step is, by the work folder alone; `plan` looks at the sources as well
    Status {
        #[command(flatten)]
        file: FileArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the steps did: rows in, out, dropped by reason, time; for one step its counters
    /// and histograms too
    Report {
        #[command(flatten)]
        file: FileArgs,
        /// Only this step, in detail
        step: Option<String>,
        #[command(flatten)]
        format: ReportFormat,
    },
    /// Write a page for every step, to look at in a browser: what was chosen, and why
    Look {
        #[command(flatten)]
        file: FileArgs,
        /// Only this step
        step: Option<String>,
        /// Threads to use; results do not depend on it [default: all]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
    },
    /// Compare every part of the work folder with its SHA-256, at the speed of the disk
    Verify {
        #[command(flatten)]
        file: FileArgs,
        /// Only this step
        step: Option<String>,
        /// Put what is damaged into the folders _damaged, so that the next run makes it again
        #[arg(long)]
        set_aside: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Find a threshold for a dedup step: edit a sample of its images, and see which copies the
    /// encoder recognises
    Calibrate(CalibrateArgs),
    /// Find the images of the pool that are nearest to a picture, and what became of them
    Find(FindArgs),
    /// Look whether a set of images, or copies of them, are in the finished data set
    Audit(AuditArgs),
    /// Write a table of vectors as plain numbers, for numpy (.npy), or for pandas and `DuckDB`
    /// (.parquet with lists)
    Vectors {
        #[command(flatten)]
        file: FileArgs,
        /// The table, STEP/EMBEDDER
        table: String,
        /// The new file: OUT.npy (the ids beside it in OUT.ids.npy) or OUT.parquet
        out: PathBuf,
    },
    /// Submit the driver itself as a Slurm job: it submits everything else, and needs no terminal
    Submit {
        #[command(flatten)]
        file: FileArgs,
        /// First step to run
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Last step to run
        #[arg(long, value_name = "STEP")]
        to: Option<String>,
        /// Let ingested images and vectors be replaced, where the file no longer describes them
        #[arg(long)]
        replace: bool,
        /// Print the script and submit nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// End all Slurm jobs of a work folder; what is done stays done
    Cancel {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Run tasks of an open phase, from the work folder alone: what a scheduler calls
    Task(TaskArgs),
    /// Look at this machine: processor, BLAS kernel and its speed, ONNX Runtime; warn with a cure
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the built-in example: a crawl of small pictures with planted copies, its ground truth,
    /// models and a pipeline file
    Example {
        /// Where to
        folder: PathBuf,
        /// Seed of everything in it [default: 1]
        #[arg(long)]
        seed: Option<u64>,
        /// Files in its pool [default: 2000]
        #[arg(long, value_name = "N")]
        images: Option<usize>,
        /// Make nothing: compare what the example's pipeline found with the ground truth
        #[arg(long)]
        score: bool,
    },
    /// Models: fetch and try one
    #[command(subcommand)]
    Model(ModelCommand),
    /// Print the reference of the pipeline file
    Config,
    /// Print the reference of the Parquet tables
    Tables,
    /// Print the manual page, or write those of all commands into a folder
    Man {
        /// Where to: a page for lvd and one for each command, lvd-run.1 and so on
        folder: Option<PathBuf>,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(ClapArgs)]
pub struct FileArgs {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// Override a setting, for instance dedup.threshold=0.7; may be given several times
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    pub set: Vec<String>,
    /// Work folder, instead of the file's
    #[arg(long, value_name = "FOLDER")]
    pub work: Option<String>,
}

#[derive(ClapArgs)]
pub struct RunArgs {
    /// Threads to use; results do not depend on it [default: all]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Tasks to run at once, sharing the threads; memory grows with it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub tasks_at_once: usize,
    /// Let ingested images and vectors be replaced, where the file no longer describes them
    #[arg(long)]
    pub replace: bool,
    /// Take the steps before as they are, though the file no longer describes them or too much of
    /// them failed
    #[arg(long)]
    pub as_is: bool,
    /// Then write the pages of these steps, as `lvd look` does
    #[arg(long, conflicts_with = "dry_run")]
    pub look: bool,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
    /// Where tasks run
    #[arg(long, value_enum, default_value_t = EngineName::Local)]
    pub engine: EngineName,
    /// With --engine slurm: print the script of the next phase and submit nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// How tasks are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskFormat {
    /// Ids, commands and what each phase waits for
    Json,
    /// A command a line
    Sh,
}

/// Where tasks run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// Here, in this process
    Local,
    /// As job arrays of a Slurm cluster; see [engine.slurm] of the pipeline file
    Slurm,
}

#[derive(ClapArgs)]
pub struct EstimateArgs {
    /// Print what the pipeline would cost, with the arithmetic: time, memory and storage by phase
    #[arg(long, conflicts_with = "tasks")]
    pub estimate: bool,
    /// With --estimate: images of the pool, for instance 1.2e9 [default: as it is, or as declared]
    #[arg(long, value_name = "N", requires = "estimate")]
    pub images: Option<f64>,
    /// With --estimate: nodes [default: 1]
    #[arg(long, value_name = "N", requires = "estimate")]
    pub nodes: Option<f64>,
    /// With --estimate: cores of a node [default: this machine's]
    #[arg(long, value_name = "N", requires = "estimate")]
    pub cores: Option<f64>,
    /// With --estimate: sgemm of a core in GFLOP/s [default: measured here]
    #[arg(long, value_name = "GFLOPS", requires = "estimate")]
    pub gflops: Option<f64>,
    /// With --estimate: what a node reads and writes in the work folder, in GB/s [default: 1]
    #[arg(long, value_name = "GB/S", requires = "estimate")]
    pub disk: Option<f64>,
    /// With --estimate: what the accelerators of a node reach in the models, in TFLOP/s [default:
    /// none, the cores do it]
    #[arg(long, value_name = "TFLOPS", requires = "estimate")]
    pub model_tflops: Option<f64>,
}

#[derive(ClapArgs)]
pub struct TaskArgs {
    /// The work folder
    pub work: String,
    /// The step
    pub step: String,
    /// The phase
    pub phase: String,
    /// Numbers of tasks, from 0
    #[arg(required = true)]
    pub numbers: Vec<usize>,
    /// Threads to use [default: all]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Skip tasks that have failed this often
    #[arg(long, value_name = "N")]
    pub tries: Option<u32>,
    /// Seconds that are left when SIGUSR1 comes
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub lead: u32,
}

#[derive(ClapArgs)]
pub struct StageArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub run: RunArgs,
    /// Only the step of this name; else all steps of the stage
    #[arg(long, value_name = "NAME")]
    pub step: Option<String>,
}

#[derive(ClapArgs)]
pub struct CalibrateArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// The dedup step. Left out: all of them, one after the other
    pub step: Option<String>,
    /// Images to draw from the pool; each is edited in 30 ways and embedded 31 times
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub images: usize,
    /// Subtract the mean of the three highest cosines to half of the pool, which is then not
    /// compared with
    #[arg(long)]
    pub normalise: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the tables go [default: _calibrate/STEP in the work folder]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Threads to use; results do not depend on it [default: all]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print errors only, beside the result
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(ClapArgs)]
pub struct EmbedArgs {
    #[command(flatten)]
    pub stage: StageArgs,
    /// Embed nothing: measure each part of the stage on the step's images for so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    pub bench: Option<f64>,
    /// Print the measurements as JSON
    #[arg(long, requires = "bench")]
    pub json: bool,
}

#[derive(ClapArgs)]
#[group(multiple = false)]
pub struct ReportFormat {
    /// Print the summaries as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the rows of report.parquet as CSV
    #[arg(long)]
    pub csv: bool,
}
