//! What a calibration says: the numbers, as tables and as JSON.

use std::path::Path;

use serde_json::{Value, json};

use crate::calibrate::drops::Drops;
use crate::calibrate::inputs::{Inputs, Settings};
use crate::calibrate::lookalikes::NearPair;
use crate::calibrate::question::Question;
use crate::calibrate::score::{Normalised, Scored, hundredths};
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::publish;
use lvd_io::row;
use lvd_io::table;
use lvd_ops::edits::Edit;
use lvd_ops::ranking::{Curve, PairCount, Tally};
use lvd_ops::whiten::Whitening;

/// The precisions for which thresholds are shown; the first is the one to go by.
const WANTED: [f64; 2] = [0.99, 0.9];
/// One drawn image in so many may be near to another that does not look like it.
const UNLIKE: u64 = 100;

table! {
    /// What a threshold finds: pairs of an edited copy and an image of the pool whose score is at
    /// or over it.
    pub struct ThresholdRow {
        /// The least score; every hundredth, and the step's own threshold.
        pub threshold: f64,
        /// Share of the copies that find their original.
        pub recall: f64,
        /// Share of the pairs found that are right, undecided ones left out; 1 where none is found.
        pub precision: f64,
        /// The same, were all undecided pairs wrong.
        pub precision_at_least: f64,
        /// Pairs of a copy and its original.
        pub right: u64,
        /// Pairs of a copy and another image.
        pub wrong: u64,
        /// Pairs of a copy and an image that looks like its original, or like what a collage is
        /// pasted on.
        pub undecided: u64,
        /// Images of the pool that the step would drop, about; null for normalised scores.
        pub drops: Option<u64>,
        /// Drawn images within the threshold of another of the pool that does not look like them,
        /// unedited both: likely false. Null for normalised scores.
        pub unlike: Option<u64>,
    }
}

table! {
    /// What becomes of one kind of edit.
    pub struct EditRow {
        /// Its name.
        pub edit: String,
        /// Copies that have a vector.
        pub copies: u64,
        /// Copies of which the model gave no usable vector.
        pub lost: u64,
        /// Copies that find their original at the threshold.
        pub found: u64,
        /// Share of the copies that do; 1 where there are none.
        pub recall: f64,
        /// Half of the copies have a score with their original over this (the lower one of two
        /// middles).
        pub median: Option<f32>,
    }
}

table! {
    /// An edited copy, and what it is most like.
    pub struct CopyRow {
        /// The image it was made of.
        pub id: ImageId,
        /// How.
        pub edit: String,
        /// Its score with that image.
        pub score: f32,
        /// The wrong image of the highest score; null when there is none.
        pub nearest_other: Option<ImageId>,
        /// That score.
        pub nearest_score: Option<f32>,
    }
}

/// The lowest threshold (in hundredths) of a precision, with its recall; `None` where no threshold
/// that finds anything has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// The precision asked for.
    pub precision: f64,
    /// Images of the pool that would go at the threshold to go by, about.
    pub drops: Option<u64>,
    /// With undecided pairs left out: threshold and recall.
    pub lowest: Option<(f64, f64)>,
    /// Were all undecided pairs wrong, and with hardly a drawn image (one in a hundred at most)
    /// within it of another that does not look like it.
    pub cautious: Option<(f64, f64)>,
}

impl Suggestion {
    /// The threshold to go by: the cautious one, or the lowest where there is none.
    #[must_use]
    pub fn threshold(&self) -> Option<f64> {
        self.cautious.or(self.lowest).map(|(threshold, _)| threshold)
    }
}

/// What the same vectors find whitened, or unwhitened.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherWay {
    /// Whether they are whitened.
    pub whiten: bool,
    /// Micro average precision, undecided pairs left out.
    pub micro_ap: f64,
    /// For the precision to go by.
    pub suggestion: Option<Suggestion>,
}

/// What vectors were whitened on, for whichever way it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whitened {
    /// Vectors that it was fitted on.
    pub on: usize,
    /// The fewest that are to be whitened.
    pub fewest: usize,
}

impl Whitened {
    /// Of so many vectors of so many numbers.
    pub(super) fn on(vectors: usize, dimension: usize) -> Self {
        Self { on: vectors, fewest: Whitening::fewest(dimension) }
    }

    /// Whether these were enough.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.on >= self.fewest
    }
}

/// The evidence for a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The dedup step.
    pub step: String,
    /// The vectors it compares.
    pub vectors: String,
    /// Whether it whitens them.
    pub whiten: bool,
    /// Its threshold, if it has one.
    pub threshold: Option<f64>,
    /// The threshold of the recall by edit: the step's; of a step without one, and of normalised
    /// scores, which the step knows nothing of, the one suggested for a precision of 0.99, if any.
    pub edits_at: Option<f64>,
    /// Images drawn.
    pub images: u64,
    /// How many they were drawn from.
    pub population: u64,
    /// Copies that have a vector.
    pub copies: u64,
    /// Images of the pool that each copy was compared with.
    pub references: u64,
    /// How scores were normalised; `None`: they are cosines.
    pub normalised: Option<Normalised>,
    /// Pairs of a drawn image and another that may be its copy already, as they look alike.
    pub lookalikes: Vec<NearPair>,
    /// The nearest other of each drawn image that does not look like it.
    pub unlike: Vec<NearPair>,
    /// What is found the other way: whitened where the step does not whiten, and unwhitened where
    /// it does. Not known of normalised scores.
    pub other: Option<OtherWay>,
    /// What the whitened vectors were whitened on, where any were.
    pub whitened: Option<Whitened>,
    /// Micro average precision, undecided pairs left out.
    pub micro_ap: f64,
    /// The same, were all undecided pairs wrong.
    pub micro_ap_at_least: f64,
    /// By threshold, ascending.
    pub thresholds: Vec<ThresholdRow>,
    /// By edit.
    pub edits: Vec<EditRow>,
    /// For precisions of 0.99 and 0.9.
    pub suggestions: Vec<Suggestion>,
    /// Every copy.
    pub rows: Vec<CopyRow>,
}

/// Adds up what was counted.
pub fn sum_up(
    inputs: &Inputs,
    settings: &Settings,
    whiten: bool,
    question: &Question,
    (scored, drops): (&Scored, Option<&Drops>),
) -> Calibration {
    let Scored { right, bounds, wrong, undecided, .. } = scored;
    let all = right.len() as u64;
    let mut none_right: Tally = wrong.clone();
    none_right.merge(undecided);
    let (curve, cautious) = (Curve::new(bounds, right, wrong), Curve::new(bounds, right, &none_right));
    let at = |threshold: f32| {
        let (found, at_least) = (curve.at(threshold), cautious.at(threshold));
        ThresholdRow {
            threshold: decimal(threshold),
            recall: found.recall(all),
            precision: found.precision(),
            precision_at_least: at_least.precision(),
            right: found.right,
            wrong: found.wrong,
            undecided: at_least.wrong - found.wrong,
            drops: drops.map(|drops| drops.at(threshold)),
            unlike: drops.map(|_| question.lookalikes.unlike_at(threshold)),
        }
    };
    let few = question.sample.ids.len() as u64 / UNLIKE;
    let looks_right = |at: f32| settings.normalise || question.lookalikes.unlike_at(at) <= few;
    let grid: Vec<f32> = hundredths().filter(|&at| settings.normalise || at >= 0.0).collect();
    let lowest = |curve: &Curve, precision: f64, allowed: &dyn Fn(f32) -> bool| {
        let fits = |found: PairCount| found.right > 0 && found.precision() >= precision;
        let threshold = grid.iter().copied().find(|&at| fits(curve.at(at)) && allowed(at))?;
        Some((threshold, curve.at(threshold).recall(all)))
    };
    let any = |_: f32| true;
    let suggest = |precision| {
        let shown = |found: Option<(f32, f64)>| found.map(|(at, recall)| (decimal(at), recall));
        let cautious = lowest(&cautious, precision, &looks_right);
        let lowest = lowest(&curve, precision, &any);
        let drops = drops.zip(cautious.or(lowest)).map(|(drops, (threshold, _))| drops.at(threshold));
        Suggestion { precision, drops, lowest: shown(lowest), cautious: shown(cautious) }
    };
    let edits_at = if settings.normalise {
        lowest(&curve, WANTED[0], &any).map(|(threshold, _)| threshold)
    } else {
        inputs.dedup.threshold.or_else(|| lowest(&curve, WANTED[0], &any).map(|(threshold, _)| threshold))
    };
    let of_step = inputs.dedup.threshold.filter(|_| !settings.normalise);
    let mut thresholds: Vec<f32> = grid.iter().copied().chain(of_step).collect();
    thresholds.sort_unstable_by(f32::total_cmp);
    thresholds.dedup();
    Calibration {
        step: inputs.step.into(),
        vectors: inputs.dedup.vectors.name().into(),
        whiten,
        threshold: inputs.dedup.threshold.map(decimal),
        edits_at: edits_at.map(decimal),
        images: question.sample.ids.len() as u64,
        population: question.sample.population,
        copies: all,
        references: scored.references,
        normalised: scored.normalised,
        lookalikes: question.lookalikes.rows.clone(),
        unlike: question.lookalikes.unlike.clone(),
        other: None,
        whitened: None,
        micro_ap: curve.average_precision(),
        micro_ap_at_least: cautious.average_precision(),
        thresholds: thresholds.into_iter().map(at).collect(),
        edits: Edit::ALL.iter().map(|&edit| of_edit(edit, question, scored, edits_at)).collect(),
        suggestions: WANTED.into_iter().map(suggest).collect(),
        rows: copies(question, scored),
    }
}

fn of_edit(edit: Edit, question: &Question, scored: &Scored, threshold: Option<f32>) -> EditRow {
    let made = question.copies.made.iter().zip(&scored.right);
    let mut ranked: Vec<f32> = made.filter(|(copy, _)| copy.edit == edit).map(|(_, score)| *score).collect();
    ranked.sort_unstable_by(f32::total_cmp);
    let all = ranked.len() as u64;
    let over = threshold.map_or(0, |threshold| ranked.iter().filter(|&&score| score >= threshold).count());
    let found = PairCount { right: over as u64, wrong: 0 };
    EditRow {
        edit: edit.name().into(),
        copies: all,
        lost: question.copies.lost.iter().filter(|&&lost| lost == edit).count() as u64,
        found: found.right,
        recall: found.recall(all),
        median: ranked.get(ranked.len().saturating_sub(1) / 2).copied(),
    }
}

fn copies(question: &Question, scored: &Scored) -> Vec<CopyRow> {
    let made = question.copies.made.iter().zip(&scored.right).zip(&scored.nearest);
    made.map(|((copy, &score), nearest)| CopyRow {
        id: question.sample.ids[copy.original],
        edit: copy.edit.name().into(),
        score,
        nearest_other: nearest.map(|nearest| nearest.id),
        nearest_score: nearest.map(|nearest| nearest.similarity),
    })
    .collect()
}

/// A threshold as a person writes it: the shortest decimal that is this `f32`.
fn decimal(threshold: f32) -> f64 {
    threshold.to_string().parse().unwrap_or(f64::from(threshold))
}

impl Calibration {
    /// Everything but the single copies and pairs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let threshold = |row: &ThresholdRow| {
            json!({
                "threshold": row.threshold,
                "recall": row.recall,
                "precision": row.precision,
                "precision_at_least": row.precision_at_least,
                "right": row.right,
                "wrong": row.wrong,
                "undecided": row.undecided,
                "drops": row.drops,
                "unlike": row.unlike,
            })
        };
        let edit = |row: &EditRow| {
            json!({
                "edit": row.edit,
                "copies": row.copies,
                "lost": row.lost,
                "found": row.found,
                "recall": row.recall,
                "median": row.median.map(decimal),
            })
        };
        let pair = |found: Option<(f64, f64)>| {
            found.map(|(threshold, recall)| json!({"threshold": threshold, "recall": recall}))
        };
        let suggestion = |known: &Suggestion| {
            json!({
                "precision": known.precision,
                "lowest": pair(known.lowest),
                "cautious": pair(known.cautious),
                "threshold": known.threshold(),
                "drops": known.drops,
            })
        };
        json!({
            "step": self.step,
            "vectors": self.vectors,
            "whiten": self.whiten,
            "threshold": self.threshold,
            "images": self.images,
            "drawn_from": self.population,
            "copies": self.copies,
            "references": self.references,
            "normalised": self.normalised.is_some(),
            "background": self.normalised.map(|with| with.background),
            "cosine_micro_ap": self.normalised.map(|with| with.cosine_micro_ap),
            "alike": self.lookalikes.len(),
            "other_way": self.other.as_ref().map(|other| json!({
                "whiten": other.whiten,
                "micro_ap": other.micro_ap,
                "suggestion": other.suggestion.as_ref().map(suggestion),
            })),
            "whitened_on": self.whitened.map(|whitened| whitened.on),
            "fewest_to_whiten": self.whitened.map(|whitened| whitened.fewest),
            "micro_ap": self.micro_ap,
            "micro_ap_at_least": self.micro_ap_at_least,
            "suggestions": self.suggestions.iter().map(suggestion).collect::<Vec<_>>(),
            "thresholds": self.thresholds.iter().map(threshold).collect::<Vec<_>>(),
            "edits_at": self.edits_at,
            "edits": self.edits.iter().map(edit).collect::<Vec<_>>(),
        })
    }

    /// Writes `thresholds.parquet`, `edits.parquet`, `copies.parquet`, `alike.parquet` and
    /// `summary.json` into `folder`, over those of an earlier calibration.
    pub fn write(&self, folder: &Path) -> Result<()> {
        publish::make_folder(folder)?;
        row::replace(&folder.join("thresholds.parquet"), self.thresholds.clone())?;
        row::replace(&folder.join("edits.parquet"), self.edits.clone())?;
        row::replace(&folder.join("copies.parquet"), self.rows.clone())?;
        row::replace(&folder.join("alike.parquet"), self.lookalikes.clone())?;
        row::replace(&folder.join("unlike.parquet"), self.unlike.clone())?;
        publish::replace_json(&folder.join("summary.json"), &self.to_json())
    }
}
