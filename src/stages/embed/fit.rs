//! Whether a model and the settings of its embedder fit: it is shown pictures of ours before it
//! sees anybody else's.
//!
//! `lvd check`, the start of a run and the start of each task ask the same question, so they give
//! the same answer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::stages::catalog::Embedder;
use crate::stages::embed::spec::{EmbedderSpec, spec_of};
use crate::stages::plan::to_value;
use lvd_base::error::{Error, Result};
use lvd_engines::onnx::{Provider, Session, is_of_the_machine};
use lvd_io::model;
use lvd_kernels::dot;
use lvd_ops::preprocess::{Preprocess, preprocess};

/// A model's file, and what it is used for.
#[derive(Clone)]
pub struct ModelFile {
    /// The ONNX file.
    pub path: PathBuf,
    /// What decides its vectors.
    pub spec: EmbedderSpec,
    /// Whether the user set mean or deviation.
    pub normalised: bool,
}

/// What is known of a model that fits.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Numbers a vector.
    pub dimension: usize,
    /// How pixels become its input.
    pub preprocess: Preprocess,
}

/// A setting that does not fit the model.
pub struct Misfit {
    /// The embedder's key.
    pub key: &'static str,
    /// What is wrong.
    pub error: Error,
}

impl Misfit {
    fn new(key: &'static str, fact: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key, error: Error::usage(fact, hint) }
    }

    fn model(error: Error) -> Self {
        Self { key: "model", error }
    }
}

/// Opens the model of an embedder on the processor and shows it pictures, alone and, where `batch`
/// is over 1, two at once.
///
/// # Errors
/// When it does not fit, with the setting to look at.
pub fn try_model(name: &str, embedder: &Embedder, path: &Path, batch: usize) -> std::result::Result<Fit, Misfit> {
    let spec = spec_of(name, embedder).map_err(Misfit::model)?;
    let file = ModelFile { path: path.to_owned(), spec, normalised: embedder.normalised };
    file.verify().map_err(Misfit::model)?;
    if let Some(fit) = known(&file.question(Provider::Cpu, 1, batch)?) {
        return Ok(fit);
    }
    let mut session = Session::open(path, 1).map_err(Misfit::model)?;
    file.fit(&mut session, 1, batch)
}

/// What was found to fit in this process, by [`ModelFile::question`].
static FITS: Mutex<Option<HashMap<String, Fit>>> = Mutex::new(None);

fn known(question: &str) -> Option<Fit> {
    FITS.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(question).cloned()
}

impl ModelFile {
    /// Opens it by the first of `providers` that can be used. What is opened is what its hash was
    /// taken of.
    pub fn open(&self, providers: &[Provider]) -> Result<Session> {
        self.verify()?;
        let session = Session::open_on(&self.path, 1, providers)?;
        // A file that changes after this is no affair of the session.
        self.verify()?;
        Ok(session)
    }

    fn verify(&self) -> Result<()> {
        model::verify(&self.path, &self.spec.identity())
    }

    /// All that the answer of [`ModelFile::fit`] depends on.
    fn question(&self, provider: Provider, images: usize, batch: usize) -> std::result::Result<String, Misfit> {
        let spec = to_value(&self.spec).map_err(Misfit::model)?;
        Ok(format!("{spec} {} {} {images} {batch}", self.normalised, provider.name()))
    }

    /// Whether the open model gives usable vectors; it is run on `images` copies of a picture and,
    /// where `batch` is over 1, on two pictures at once.
    pub fn fit(&self, session: &mut Session, images: usize, batch: usize) -> std::result::Result<Fit, Misfit> {
        let question = self.question(session.provider(), images, batch)?;
        if let Some(fit) = known(&question) {
            return Ok(fit);
        }
        let output = self.spec.output.as_deref();
        let declared = session.output(output).map_err(|error| Misfit { key: "output", error })?.vector_length();
        self.declared(session, declared)?;
        let mut preprocess = self.spec.preprocess.clone();
        if session.takes_bytes() {
            (preprocess.mean, preprocess.std) = ([0.0; 3], [1.0 / 255.0; 3]);
        }
        let provider = session.provider();
        let mut show = |pixels: &[f32], images: usize| {
            let side = preprocess.crop as usize;
            session.run(&pixels.repeat(images), [images, 3, side, side], output)
        };
        let (pixels, first) = self.first_vector(&preprocess, &mut |pixels| show(pixels, images))?;
        self.length(first.len())?;
        let again = show(&pixels, images).map_err(Misfit::model)?.values;
        // The processor, one thread at work, has no reason to answer otherwise.
        if provider == Provider::Cpu && !same_bits(&first, &again) {
            let fact = format!("{} answers the same picture differently each time", self.path.display());
            let hint = "export it for inference, without dropout: model.eval() in PyTorch";
            return Err(Misfit::new("model", fact, hint));
        }
        if batch > 1 && images == 1 {
            match show(&pixels, 2) {
                Ok(two) if two.dimension == first.len() => {}
                Ok(two) => return Err(self.fails_on_two(&format!("vectors of {} numbers", two.dimension))),
                Err(error) => return Err(self.fails_on_two(&error.to_string())),
            }
        }
        let fit = Fit { dimension: first.len(), preprocess };
        FITS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(question, fit.clone());
        Ok(fit)
    }

    /// What the file declares, before it is run.
    fn declared(&self, session: &Session, length: Option<usize>) -> std::result::Result<(), Misfit> {
        let (path, input, crop) = (self.path.display(), session.input(), self.spec.preprocess.crop);
        let [channels, height, width] = session.picture();
        if channels.is_some_and(|channels| channels != 3) {
            let fact = format!("{path} takes {input}: pictures of other than three colours");
            return Err(Misfit::new("model", fact, "export it for RGB pictures, N x 3 x H x W"));
        }
        if let (Some(height), Some(width)) = (height, width)
            && height != width
        {
            let fact = format!("{path} takes {input}: pictures that are no squares");
            return Err(Misfit::new("model", fact, "export it for square pictures"));
        }
        if let Some(side) = height.or(width).filter(|&side| side != crop as usize) {
            let fact =
                format!("{path} takes {input}: pictures of {side} x {side}, and the settings make {crop} x {crop}");
            return Err(Misfit::new(
                "crop",
                fact,
                format!("set `resize = {side}`, or `crop = {side}` beside a larger `resize`"),
            ));
        }
        if session.takes_bytes() && self.normalised {
            let fact = format!("{path} takes {input}: levels from 0 to 255 as they are, without mean and deviation");
            return Err(Misfit::new(
                "mean",
                fact,
                "remove `mean` and `std`: the model has them built in, or needs none",
            ));
        }
        length.map_or(Ok(()), |length| self.length(length))
    }

    /// Whether vectors may have `got` numbers.
    fn length(&self, got: usize) -> std::result::Result<(), Misfit> {
        let name = &self.spec.name;
        if got < 2 {
            let fact =
                format!("embedder {name:?}: the model gives vectors of {got} number, whose cosines are all 1 or -1");
            return Err(Misfit::new("output", fact, "set `output` to another output, or use another model"));
        }
        match self.spec.dims {
            Some(dims) if dims as usize != got => {
                let fact = format!("embedder {name:?}: the model gives vectors of {got} values, not {dims}");
                let hint = format!("set `dims = {got}`, choose the preset of this model, or another `output`");
                Err(Misfit::new("dims", fact, hint))
            }
            _ => Ok(()),
        }
    }

    /// The first picture for which the model has a usable vector, and that vector.
    fn first_vector(
        &self,
        spec: &Preprocess,
        show: &mut dyn FnMut(&[f32]) -> Result<lvd_engines::onnx::Vectors>,
    ) -> std::result::Result<(Vec<f32>, Vec<f32>), Misfit> {
        let mut failure = None;
        for darkest in DARKEST {
            let mut pixels = vec![0.0; spec.values()];
            preprocess(spec.crop, spec.crop, &picture(spec.crop, darkest), spec, &mut pixels);
            match show(&pixels) {
                Ok(mut answer) => {
                    answer.values.truncate(answer.dimension);
                    let mut unit = answer.values.clone();
                    if unit.iter().all(|value| value.is_finite()) && dot::normalise(&mut unit) {
                        return Ok((pixels, answer.values));
                    }
                    failure.get_or_insert(Error::usage("vectors of NaN, infinity or zeros only", ""));
                }
                Err(error) if is_of_the_machine(&error) => return Err(Misfit::model(error)),
                Err(error) => _ = failure.get_or_insert(error),
            }
        }
        let why = failure.map_or_else(String::new, |failure| failure.to_string());
        let fact = format!("{} has no usable vector for any of {} pictures: {why}", self.path.display(), DARKEST.len());
        Err(Misfit::new("model", fact, "export it again, and compare it with the original (docs/models.md)"))
    }

    fn fails_on_two(&self, why: &str) -> Misfit {
        let fact = format!("{} answers one picture, but not two at once: {why}", self.path.display());
        Misfit::new("model", fact, "set `batch_images = 1` in the embed step, or export it for any number of images")
    }
}

/// Whether the second begins with the first, to the bit.
fn same_bits(first: &[f32], second: &[f32]) -> bool {
    first.iter().zip(second).all(|(a, b)| a.to_bits() == b.to_bits()) && first.len() <= second.len()
}

/// The least level of each of our pictures: of middle tones, dark, bright.
const DARKEST: [u8; 3] = [96, 0, 192];

/// A square of stripes in every colour, over 64 levels.
fn picture(side: u32, darkest: u8) -> Vec<u8> {
    let level = |x: u32, y: u32, colour: u32| darkest + ((7 * x + 13 * y + 29 * colour) % 64).to_le_bytes()[0];
    (0..side).flat_map(|y| (0..side).flat_map(move |x| (0..3).map(move |colour| level(x, y, colour)))).collect()
}
