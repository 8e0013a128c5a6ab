//! The sessions that the workers of a task share: one set a worker on processors, a few sets on a
//! GPU.

use std::sync::{Mutex, PoisonError};

use crate::stages::embed::fit::{Fit, ModelFile};
use lvd_base::error::Result;
use lvd_engines::onnx::{Provider, Session};

/// Sets of sessions on a GPU: while one computes, the next one's pixels are on their way.
const GPU_SETS: usize = 2;

/// A session of every model, as often as is useful.
pub struct Sessions {
    models: Vec<ModelFile>,
    fits: Vec<Fit>,
    /// Where each model computes.
    providers: Vec<Provider>,
    passed_over: Vec<String>,
    fixed_images: Option<usize>,
    sets: Vec<Mutex<Option<Vec<Session>>>>,
}

impl Sessions {
    /// Opens a set, which decides where the models compute and shows whether they fit batches of
    /// `batch` images; the others are opened when they are needed.
    pub fn open(models: Vec<ModelFile>, providers: &[Provider], batch: usize, threads: usize) -> Result<Self> {
        let mut first = models.iter().map(|model| model.open(providers)).collect::<Result<Vec<_>>>()?;
        let fits = models.iter().zip(&mut first).map(|(model, session)| {
            // GPUs prepare for each size anew: they are shown a batch of the size that they get.
            let images = if session.provider().is_gpu() { batch } else { 1 };
            model.fit(session, images, batch).map_err(|misfit| misfit.error)
        });
        let fits = fits.collect::<Result<_>>()?;
        let providers: Vec<Provider> = first.iter().map(Session::provider).collect();
        let mut passed_over: Vec<String> = first.iter().flat_map(|session| session.passed_over().to_vec()).collect();
        passed_over.dedup();
        let fixed_images = first.iter().filter_map(Session::fixed_images).max();
        let gpu = providers.iter().any(|provider| provider.is_gpu());
        let count = if gpu { GPU_SETS.min(threads) } else { threads }.max(1);
        let mut sets: Vec<_> = (0..count).map(|_| Mutex::new(None)).collect();
        sets[0] = Mutex::new(Some(first));
        Ok(Self { models, fits, providers, passed_over, fixed_images, sets })
    }

    /// How many sets there are.
    pub fn count(&self) -> usize {
        self.sets.len()
    }

    /// What is known of each model.
    pub fn fits(&self) -> &[Fit] {
        &self.fits
    }

    /// Where each model computes.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The providers that were asked for first, and why each cannot be used.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The largest number of images that a model was made for, where it takes no other.
    pub fn fixed_images(&self) -> Option<usize> {
        self.fixed_images
    }

    /// Whether every batch is to be a full one: GPUs prepare for each size anew.
    pub fn wants_full_batches(&self) -> bool {
        self.providers.iter().any(|provider| provider.is_gpu())
    }

    /// Calls `work` with the set of a worker, when nobody else uses it.
    pub fn with<T>(&self, worker: usize, work: impl FnOnce(&mut [Session]) -> Result<T>) -> Result<T> {
        let mut set = self.sets[worker % self.sets.len()].lock().unwrap_or_else(PoisonError::into_inner);
        let set = match &mut *set {
            Some(set) => set,
            none => {
                let open = |(model, &provider): (&ModelFile, &Provider)| model.open(&[provider]);
                let opened = self.models.iter().zip(&self.providers).map(open);
                none.insert(opened.collect::<Result<Vec<_>>>()?)
            }
        };
        work(set)
    }
}
