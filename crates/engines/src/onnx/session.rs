//! A model that is open: what it takes and gives, and batches of images through it.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;

use super::library::{loaded, native};
use super::port::Port;
use super::provider::Provider;
use super::tensor::{Intake, numbers};
use lvd_base::error::{Error, Result, choices};

/// What a model said to a batch: a vector an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Numbers a vector.
    pub dimension: usize,
    /// The vectors, row-major, in the order of the images; not normalised.
    pub values: Vec<f32>,
}

/// What a Vision Transformer says of the patches of pictures, row by row of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// Patches a side.
    pub grid: usize,
    /// Numbers a patch.
    pub dimension: usize,
    /// Images x grid x grid x dimension.
    pub values: Vec<f32>,
}

/// Tokens that stand before those of the patches: none; the class token; that and one for
/// distillation (`DeiT`); that and four registers (Darcet et al. 2024).
const TOKENS_BEFORE: [usize; 4] = [1, 5, 2, 0];

/// A model that is ready to run. One session serves one thread at a time; open one a worker.
pub struct Session {
    inner: ort::session::Session,
    path: PathBuf,
    input: Port,
    pub(super) intake: Intake,
    outputs: Vec<Port>,
    provider: Provider,
    passed_over: Vec<String>,
}

impl Session {
    /// Opens an ONNX model that computes on `threads` threads of the processor.
    ///
    /// # Errors
    /// When the library or the model cannot be loaded, or the model does not take one input of
    /// pictures.
    pub fn open(path: &Path, threads: usize) -> Result<Self> {
        Self::open_on(path, threads, &[Provider::Cpu])
    }

    /// Opens an ONNX model that computes by the first of `providers` that can be used.
    ///
    /// # Errors
    /// As [`Session::open`]; when no provider can be used, with the reason of each.
    pub fn open_on(path: &Path, threads: usize, providers: &[Provider]) -> Result<Self> {
        std::fs::File::open(path).map_err(Error::io(path))?;
        // Opened outside the lock, so that workers open theirs at once.
        let environment = loaded(|library| Ok(library.environment.clone()))?;
        let mut passed_over = Vec::new();
        for &provider in providers {
            match Self::open_by(&environment, path, threads, provider) {
                Ok(session) => return Ok(Self { passed_over, ..session }),
                // The model's own fault: another provider would find it too.
                Err(error) if provider == Provider::Cpu => return Err(error),
                Err(error) => passed_over.push(format!("{}: {error}", provider.name())),
            }
        }
        Err(Error::usage(
            format!("none of the providers can be used: {}", passed_over.join("; ")),
            "point ORT_DYLIB_PATH to an ONNX Runtime that has one of them, or add \"cpu\" to `providers`",
        ))
    }

    fn open_by(environment: &Environment, path: &Path, threads: usize, provider: Provider) -> Result<Self> {
        let open = || -> ort::Result<ort::session::Session> {
            let builder = provider.register(ort::session::Session::builder(environment)?, threads.max(1))?;
            builder
                .with_intra_threads(threads.max(1))?
                .with_inter_threads(1)?
                .with_parallel_execution(false)?
                .with_intra_op_spinning(false)?
                .with_inter_op_spinning(false)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_log_level(ort::logging::LogLevel::Error)?
                .commit_from_file(path)
        };
        let inner = open().map_err(|error| match provider {
            Provider::Cpu => Error::data(path, format!("not a model that can be run: {}", error.to_string().trim())),
            _ => native(&error),
        })?;
        let inputs: Vec<_> = inner.inputs().iter().map(Port::new).collect();
        let outputs = inner.outputs().iter().map(Port::new).collect();
        let intake = if let [input] = inputs.as_slice() { Intake::of(input) } else { None };
        let (Some(intake), Some(input)) = (intake, inputs.first().cloned()) else {
            let found = list(&inputs);
            let needed = "needed is one input of f32, f16 or u8, images x 3 x h x w or images x h x w x 3";
            return Err(Error::data(path, format!("takes {found}; {needed}")));
        };
        Ok(Self { inner, path: path.to_path_buf(), input, intake, outputs, provider, passed_over: Vec::new() })
    }

    /// Where it computes.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The providers that were to be used rather than this one, and why each was not.
    #[must_use]
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The model's input.
    #[must_use]
    pub fn input(&self) -> &Port {
        &self.input
    }

    /// Whether pixels go in as levels from 0 to 255, as they are.
    #[must_use]
    pub fn takes_bytes(&self) -> bool {
        self.intake.is_bytes()
    }

    /// Channels, height and width of the pictures that it takes, where it takes no others.
    #[must_use]
    pub fn picture(&self) -> [Option<usize>; 3] {
        // Where each stands: the same turn that a shape takes.
        let [_, a, b, c] = self.intake.shape([0, 1, 2, 3]);
        let mut sides = [None; 3];
        for (at, side) in [a, b, c].into_iter().enumerate() {
            sides[side - 1] = self.input.shape[at + 1];
        }
        sides
    }

    /// The model's outputs.
    #[must_use]
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The number of images a batch that the model was made for, where it takes no other.
    #[must_use]
    pub fn fixed_images(&self) -> Option<usize> {
        self.input.shape[0].filter(|&images| images > 0)
    }

    /// Runs a batch of `shape` (images, channels, height, width), and takes a vector an image from
    /// the named output (the first one when `None`): rows of an N x D output as they are, the class
    /// token, the first of T, of N x T x D, the C numbers of N x C x 1 x 1. A model with a fixed
    /// number of images a batch is run as often as that takes.
    ///
    /// # Errors
    /// When the model has no such output, takes another shape, gives another one, or fails.
    ///
    /// # Panics
    /// When `batch` does not hold as many numbers as `shape` says.
    pub fn run(&mut self, batch: &[f32], shape: [usize; 4], output: Option<&str>) -> Result<Vectors> {
        let [images, channels, height, width] = shape;
        let image = channels * height * width;
        assert_eq!(batch.len(), images * image, "a batch of shape {shape:?} holds as many numbers");
        if self.picture().iter().zip([channels, height, width]).any(|(wanted, size)| wanted.is_some_and(|w| w != size))
        {
            return Err(Error::usage(
                format!("{} takes {}, not images of {channels}x{height}x{width}", self.path.display(), self.input),
                "set the image size to what the model takes",
            ));
        }
        let name = self.output(output)?.name.clone();
        let step = self.fixed_images().unwrap_or(images.max(1));
        let mut vectors = Vectors { dimension: 0, values: Vec::new() };
        for batch in batch.chunks(step * image) {
            let given = batch.len() / image;
            let padded;
            let full = if given == step {
                batch
            } else {
                padded = [batch, &vec![0.0; (step - given) * image]].concat();
                &padded
            };
            self.run_once(full, [step, channels, height, width], &name, given, &mut vectors)?;
        }
        Ok(vectors)
    }

    /// Runs one batch and appends the vectors of its first `given` images.
    fn run_once(
        &mut self,
        batch: &[f32],
        shape: [usize; 4],
        name: &str,
        given: usize,
        vectors: &mut Vectors,
    ) -> Result<()> {
        let images = shape[0];
        let input = self.intake.tensor(batch, shape).map_err(|error| native(&error))?;
        let answers = self.inner.run(ort::inputs![input]).map_err(|error| native(&error))?;
        let Some((sizes, values)) = numbers(&answers[name]).map_err(|error| native(&error))? else {
            return Err(no_vectors(name, &self.outputs));
        };
        let (dimension, stride) = match *sizes.as_slice() {
            [n, d] if n == images => (d, d),
            [n, tokens, d] if n == images && tokens > 0 => (d, tokens * d),
            [n, d, 1, 1] if n == images => (d, d),
            _ => (0, 0),
        };
        if dimension == 0 || vectors.dimension > 0 && vectors.dimension != dimension {
            return Err(Error::usage(
                format!("output {name} is {sizes:?} for {images} images: no vector an image can be taken from it"),
                format!("name another output of the model; it has {}", list(&self.outputs)),
            ));
        }
        vectors.dimension = dimension;
        vectors.values.extend(values.chunks(stride).take(given).flat_map(|image| &image[..dimension]));
        Ok(())
    }

    /// Runs a batch of `shape` and takes the tokens of the patches from the first output of N x T x
    /// D: T is a square number of patches, with the class token and others before them or not.
    /// `None` where the model has no such output, or takes batches of another size.
    ///
    /// # Errors
    /// When the model fails.
    pub fn patches(&mut self, batch: &[f32], shape: [usize; 4]) -> Result<Option<Patches>> {
        let tokens = |port: &&Port| port.shape.len() == 3 && port.may_give_vectors();
        let Some(name) = self.outputs.iter().find(tokens).map(|port| port.name.clone()) else { return Ok(None) };
        if self.fixed_images().is_some_and(|images| images != shape[0]) {
            return Ok(None);
        }
        let input = self.intake.tensor(batch, shape).map_err(|error| native(&error))?;
        let answers = self.inner.run(ort::inputs![input]).map_err(|error| native(&error))?;
        let Some((sizes, values)) = numbers(&answers[&*name]).map_err(|error| native(&error))? else {
            return Ok(None);
        };
        let [images, tokens, dimension] = *sizes.as_slice() else { return Ok(None) };
        let side = |before: &usize| {
            let grid = tokens.checked_sub(*before)?.isqrt();
            (grid > 1 && grid * grid + before == tokens).then_some((*before, grid))
        };
        let found = TOKENS_BEFORE.iter().find_map(side).filter(|_| images == shape[0] && dimension > 0);
        let of_image = |image: &[f32], before: usize| image[before * dimension..].to_vec();
        Ok(found.map(|(before, grid)| {
            let values = values.chunks_exact(tokens * dimension).flat_map(|image| of_image(image, before)).collect();
            Patches { grid, dimension, values }
        }))
    }

    /// The output called `wanted`, or the first.
    ///
    /// # Errors
    /// When there is none, or it declares what no vectors can be taken from.
    pub fn output(&self, wanted: Option<&str>) -> Result<&Port> {
        let found = match wanted {
            Some(name) => self.outputs.iter().find(|output| output.name == name),
            None => self.outputs.first(),
        };
        let Some(output) = found else {
            let names = self.outputs.iter().map(|output| output.name.as_str());
            return Err(Error::usage(
                format!("{} has no output {:?}", self.path.display(), wanted.unwrap_or_default()),
                choices(wanted.unwrap_or_default(), &format!("its outputs are {}", list(&self.outputs)), names),
            ));
        };
        if output.may_give_vectors() { Ok(output) } else { Err(no_vectors(&output.name, &self.outputs)) }
    }
}

/// An output that gives no vector an image, and those that may.
fn no_vectors(name: &str, outputs: &[Port]) -> Error {
    let (this, others): (Vec<Port>, Vec<Port>) = outputs.iter().cloned().partition(|output| output.name == name);
    let cure = others.iter().find(|output| output.may_give_vectors());
    let cure = cure.map_or("export the model with such an output".to_owned(), |output| {
        format!("set `output = {:?}`", output.name)
    });
    let others =
        if others.is_empty() { "it has no other".to_owned() } else { format!("its others are {}", list(&others)) };
    Error::usage(
        format!(
            "output {} of the model is no vector an image: needed are f32, f16 or f64, images x numbers, two or more",
            list(&this)
        ),
        format!("{cure}; {others}"),
    )
}

/// Whether a model failed for want of memory or because of its device, rather than because of the
/// picture.
#[must_use]
pub fn is_of_the_machine(error: &Error) -> bool {
    const SIGNS: [&str; 6] = ["allocat", "bad_alloc", "out of memory", "cuda", "cudnn", "cublas"];
    match error {
        Error::Native(fault) => {
            let fact = fault.fact.to_lowercase();
            SIGNS.iter().any(|sign| fact.contains(sign))
        }
        Error::Usage { .. } => false,
        _ => true,
    }
}

fn list(ports: &[Port]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
