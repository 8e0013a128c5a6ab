//! The settings of a dedup step, and what follows from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::{Catalog, Role};
use crate::stages::kind::StageKind;
use crate::stages::scope::{Input, Scope, VectorUse};

/// Find copies: images whose vectors are nearer than a threshold, and everything they are linked
/// to.
///
/// Without `references`, one image of each group stays. With `references`, every component that
/// holds a reference image goes, and all others stay whole.
///
/// Memory: `memory_mib` and about 700 MiB. Beyond that, `train` holds 16 vectors a cell, at most a
/// million, and `components` 4 bytes a row of input and about 100 bytes for each image that has a
/// copy. Disk: a second copy of the vectors, while the step runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// The vectors to compare, `STEP/EMBEDDER`. Left out: the only ones above or, of several, those
    /// of the only encoder that was made to find copies (`builtin:copy`, SSCD).
    pub vectors: Input,
    /// The ingest step that knows the images' sizes. Left out: the only one above.
    pub images: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole
    /// pool.
    pub pool: Input,
    /// The pool sources to compare. Those of the others stay as they are. Left out: all.
    pub sources: Option<Vec<String>>,
    /// An earlier dedup step, over some of the sources. Its survivors stay and are not compared
    /// with each other again, only with images that it did not compare; what it dropped stays out.
    /// This is how a pool grows without being joined anew.
    pub settled: Input,
    /// The sources that the step in `settled` compares; none: all.
    #[serde(skip)]
    pub(super) settled_sources: Option<Vec<String>>,
    /// Reference or seed sources. Given: components that hold one of their images are dropped, and
    /// nothing else. With seed sources, images of the pool go that are copies of seeds, which are
    /// in the data set anyway.
    pub references: Vec<String>,
    /// Cosine from which two images are linked, 0 to 1. Raising it keeps more. Left out: what is
    /// known for the encoder (docs/models.md), a lower one where `references` names a reference
    /// source: for SSCD the published 0.6 and 0.45. An encoder that was not made to find copies
    /// needs its own: `lvd calibrate` measures it.
    pub threshold: Option<f32>,
    /// Which images of a component go.
    pub linkage: Linkage,
    /// Which image stays.
    pub keep: Keep,
    /// The cluster step whose distances `keep` looks at. Left out: the only one above.
    pub clusters: Input,
    /// Whiten the vectors before they are compared: fitted on 65,536 of them (of fewer, on all), so
    /// that directions in which all images vary count no more than those that tell two of them
    /// apart. For encoders that were not made for copies, such as classifiers, and for
    /// `builtin:copy` in pools of 2,000 images and more (docs/dedup.md). Cosines get smaller, so
    /// the threshold has to be chosen anew: `lvd calibrate` whitens as well.
    pub whiten: bool,
    /// Nearest neighbours kept for each image, 1 to 1024. In a crowd of more near copies than this,
    /// most images have one neighbour only: the image to which they are attached (`star` in the
    /// edges).
    pub neighbours: u32,
    /// Pairs below this cosine are not looked for. A changed `threshold` above it reruns only the
    /// components, not the search, as long as the threshold's angle is more than a third of the
    /// floor's (two thirds with another `linkage` than `component`). Left out: 0.1 below the
    /// threshold.
    pub edge_floor: Option<f32>,
    /// Vectors up to which every pair is compared; beyond, cells are made.
    pub exact_up_to: u64,
    /// The share of the pairs over `edge_floor` that the cells are to find, 0.5 to 1. How far
    /// images look follows from it, by measuring the neighbours of 4,096 of them; the report has
    /// the margin and the recall on these.
    pub recall: f64,
    /// Vectors in a cell, at least. The number of cells is three times the square root of the
    /// number of vectors, or one for each 333 vectors, whichever is more, and never more than
    /// 65,536. Raising `cell_images` makes fewer cells, which find more and compare more.
    pub cell_images: u32,
    /// Memory for the vectors that a join task holds, in MiB. Less makes more tasks, and each reads
    /// the vectors of others that look at its cells.
    pub memory_mib: u32,
}

/// Which images of a component go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Linkage {
    /// All but one, however long the chain that links them (LVD-142M).
    #[default]
    Component,
    /// Those within the threshold of an image that stays: chains are cut.
    Representative,
    /// Those within the threshold of any image that `keep` ranks higher, whether that stays or not
    /// (`SemDeDup`).
    Earlier,
}

/// Which image stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Most pixels, then most bytes, then the lowest id.
    #[default]
    Largest,
    /// The lowest id: sources in the order of the file.
    First,
    /// The farthest from its cluster's centroid (`SemDeDup`).
    Farthest,
    /// The closest to its cluster's centroid.
    Closest,
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            vectors: Input::default(),
            images: Input::default(),
            pool: Input::default(),
            sources: None,
            settled: Input::default(),
            settled_sources: None,
            references: Vec::new(),
            threshold: None,
            linkage: Linkage::default(),
            keep: Keep::default(),
            clusters: Input::default(),
            whiten: false,
            neighbours: 64,
            edge_floor: None,
            exact_up_to: 100_000,
            recall: 0.99,
            cell_images: 128,
            memory_mib: 1536,
        }
    }
}

impl Dedup {
    /// The cosine from which two images are linked.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold.unwrap_or(if self.references.is_empty() { 0.6 } else { 0.45 })
    }

    /// The cosine from which pairs are kept.
    #[must_use]
    pub fn floor(&self) -> f32 {
        self.edge_floor.unwrap_or((self.threshold() - 0.1).max(-1.0))
    }

    /// The cosine from which many images may be attached to one of them. A third of the floor's
    /// angle, so that such crowds reach little beyond what one of them finds. At least the
    /// threshold, so that what is attached is linked. Where only direct links count, half the
    /// threshold's angle: any two images that are attached to one are then linked.
    pub(super) fn crowd(&self) -> f32 {
        let part = |cosine: f32, part: f32| {
            let cosine = (cosine.clamp(-1.0, 1.0).acos() * part).cos();
            // Libraries differ in the last digit, and the task's key is not to.
            (cosine * 1e4).ceil() / 1e4
        };
        let linked = match self.linkage {
            Linkage::Component => self.threshold(),
            Linkage::Representative | Linkage::Earlier => part(self.threshold(), 0.5),
        };
        part(self.floor(), 1.0 / 3.0).max(linked)
    }

    /// The table with the sizes of the images.
    pub(super) fn facts(&self) -> String {
        format!("{}/facts", self.images.name())
    }

    pub(super) fn ranks_by_clusters(&self) -> bool {
        matches!(self.keep, Keep::Farthest | Keep::Closest)
    }

    /// As many rows of so many bytes as `memory_mib` holds.
    pub(super) fn held_rows(&self, a_row: u64) -> u64 {
        u64::from(self.memory_mib) * (1 << 20) / a_row
    }

    /// The threshold that is known for the embedder of its vectors. Against held-out images it is a
    /// lower one: there a copy that is missed costs more than an image that goes for nothing. With
    /// seeds it is that of a pool: what is only like a seed is what retrieve looks for.
    #[must_use]
    pub fn known_threshold(&self, catalog: &Catalog) -> Option<f32> {
        let (_, embedder) = self.vectors.name().split_once('/')?;
        let is_held_out = |name: &String| catalog.sources.get(name).is_some_and(|it| it.role == Role::Reference);
        catalog.embedders.get(embedder)?.copies?.of(self.whiten, self.references.iter().any(is_held_out))
    }

    /// Takes the threshold that is known for the embedder where none is set.
    fn take_known_threshold(&mut self, embedder: &str, scope: &mut Scope) {
        let Some(known) = scope.catalog.embedders.get(embedder).filter(|_| self.threshold.is_none()) else { return };
        self.threshold = self.known_threshold(scope.catalog);
        let message = match known.copies {
            _ if self.threshold.is_some() => return,
            Some(_) => format!("the known threshold of {embedder:?} is not for whitened vectors"),
            None => format!("embedder {embedder:?} has no known threshold for copies"),
        };
        scope.undecided("threshold", message, "set `threshold`: `lvd calibrate` measures it on your own images");
    }

    /// Finds what is wrong with the settings.
    pub(super) fn find_faults(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, VectorUse::Copies, "vectors");
        scope.wire(&mut self.images, StageKind::Ingest, "images");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        scope.wire_named(&mut self.settled, StageKind::Dedup, "settled");
        if self.ranks_by_clusters() {
            scope.wire(&mut self.clusters, StageKind::Cluster, "clusters");
        }
        scope.require_sources(&self.references, &[Role::Reference, Role::Seed], "references");
        scope.require_sources(self.sources.as_deref().unwrap_or_default(), &[Role::Pool], "sources");
        self.settled_sources = scope.above.get(self.settled.name()).and_then(|above| above.compares.clone());
        let relative = !self.references.is_empty();
        let settles = !self.settled.name().is_empty();
        let message = "survivors of an earlier step stay, and components with a reference go";
        scope.require(!(relative && settles), "settled", message, "use a dedup step for each");
        let message = "components with a reference go whole";
        let plain = self.linkage == Linkage::Component && self.keep == Keep::Largest;
        scope.require(!relative || plain, "linkage", message, "leave `linkage` and `keep` out, or `references`");
        let embedder = self.vectors.name().split_once('/').map_or(String::new(), |(_, name)| name.to_owned());
        self.take_known_threshold(&embedder, scope);
        let (threshold, floor) = (self.threshold(), self.floor());
        scope.within("threshold", "a cosine of", threshold, 0.0..=1.0);
        // One that was left out follows the threshold.
        scope.within("edge_floor", "a cosine of", self.edge_floor.unwrap_or(0.0), -1.0..=1.0);
        let message = format!("edges below {floor} are not kept, so {threshold} cannot be applied");
        scope.require(
            threshold >= floor || self.edge_floor.is_none(),
            "threshold",
            message,
            format!("lower `edge_floor` to {threshold} or less"),
        );
        let k = self.neighbours;
        scope.require((1..=1024).contains(&k), "neighbours", format!("{k} neighbours"), "use 1 to 1024");
        scope.within("recall", "a recall of", self.recall, 0.5..=1.0);
        let size = self.cell_images;
        scope.require(size >= 16, "cell_images", format!("{size} images a cell"), "use at least 16");
        let memory = self.memory_mib;
        scope.require(memory >= 64, "memory_mib", format!("{memory} MiB"), "use at least 64");
    }
}
