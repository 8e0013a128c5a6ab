//! What a calibration means, in words, and what to type next.

use std::fmt::{Display, Write as _};
use std::path::Path;

use crate::calibrate::{Calibration, OtherWay, Suggestion, ThresholdRow, Whitened};
use crate::cli::table::{counted, thousands};
use crate::pipeline::shell::changed;

/// How much more of the copies the other way has to find to be worth a change.
const MORE: f64 = 0.02;
/// Images of which a calibration says little, and of how many it says enough.
const FEW: u64 = 100;
const ENOUGH: u64 = 300;

/// Where the tables are, and the commands that a reader of the numbers may want.
pub fn where_next(folder: &Path, found: &Calibration, file: &str) -> String {
    let mut text = format!(
        "\nIn {}: thresholds.parquet, edits.parquet, copies.parquet, alike.parquet, unlike.parquet, summary.json\n",
        folder.display()
    );
    let Some(suggestion) = found.suggestions.first().filter(|_| found.normalised.is_none()) else { return text };
    text.push_str(&few(found));
    let set = |key: &str, value: &dyn Display| format!("{}.{key}={value}", found.step);
    if let Some(other) = found.other.as_ref().filter(|other| finds_more(other, found, suggestion)) {
        let threshold = other.suggestion.as_ref().and_then(Suggestion::threshold).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} finds more: lvd plan {}",
            if other.whiten { "whitening" } else { "not whitening" },
            changed(file, &[set("whiten", &other.whiten), set("threshold", &threshold)])
        );
    }
    if let Some(now) = of_step(found) {
        let _ = writeln!(
            text,
            "now: {} finds {:.3} of the edited copies, with a precision of {:.3} (at least {:.3})",
            now.threshold, now.recall, now.precision, now.precision_at_least
        );
    }
    text.push_str(&thresholds(found, suggestion, file));
    text
}

/// The threshold to go by, with its recall.
pub fn best(suggestion: Option<&Suggestion>) -> Option<(f64, f64)> {
    suggestion.and_then(|known| known.cautious.or(known.lowest))
}

/// Which threshold is sure, which may be, and what to do where none is.
fn thresholds(found: &Calibration, suggestion: &Suggestion, file: &str) -> String {
    let plan =
        |threshold: f64| format!("lvd plan {}", changed(file, &[format!("{}.threshold={threshold}", found.step)]));
    let undecided = match found.lookalikes.len() as u64 {
        1 => "the undecided pair is one of copies".to_owned(),
        pairs => format!("the {} are copies", counted(pairs, "undecided pair")),
    };
    let only_if = format!("only if {undecided}, and images near to others are like them");
    let look = "look at them (alike.parquet, unlike.parquet)";
    let precision = suggestion.precision;
    match (suggestion.cautious, suggestion.lowest) {
        (Some((sure, recall)), Some((lowest, more))) if sure > lowest => format!(
            "{sure} finds {recall:.3} of the edited copies and is sure; {lowest} finds {more:.3}, and is as precise {only_if}: {look}\nnext: \
             {}\n  or: {}\n",
            plan(sure),
            plan(lowest)
        ),
        (Some((sure, recall)), _) => {
            format!("{sure} finds {recall:.3} of the edited copies and is sure\nnext: {}\n", plan(sure))
        }
        (None, Some((lowest, recall))) => format!(
            "no threshold is sure; {lowest} finds {recall:.3} of the edited copies, and has a precision of {precision} {only_if}: {look} before \
             you take it{}\nthen: {}\n",
            more(found)
                .map_or_else(String::new, |images| format!(", or calibrate with more images (--images {images})")),
            plan(lowest)
        ),
        (None, None) if found.whiten => format!(
            "no threshold has a precision of {precision}: look at the wrong pairs in copies.parquet, or use an encoder for copies\n"
        ),
        (None, None) if !found.whitened.as_ref().is_some_and(Whitened::is_enough) => format!(
            "no threshold has a precision of {precision}, and the vectors are too few to be whitened: look at the wrong pairs in \
             copies.parquet, or use an encoder for copies\n"
        ),
        (None, None) => format!(
            "no threshold has a precision of {precision}; next: lvd calibrate {} {}\n",
            changed(file, &[format!("{}.whiten=true", found.step)]),
            found.step
        ),
    }
}

/// How many images say more, where there are more.
fn more(found: &Calibration) -> Option<u64> {
    Some(found.population.min(ENOUGH)).filter(|&images| images > found.images)
}

/// A warning of a sample that says little, with what can be done about it.
fn few(found: &Calibration) -> String {
    if found.images >= FEW {
        return String::new();
    }
    let images = thousands(found.images);
    match more(found) {
        Some(all) if all == found.population => {
            format!(
                "warning: {images} images say little, chance decides much: calibrate with all {all} (--images {all})\n"
            )
        }
        Some(more) => {
            format!(
                "warning: {images} images say little, chance decides much: calibrate with {more} or more (--images)\n"
            )
        }
        None => format!(
            "warning: {images} images say little, chance decides much, and there are no more: look at pairs before you change a threshold\n"
        ),
    }
}

/// The row of the step's own threshold.
fn of_step(found: &Calibration) -> Option<&ThresholdRow> {
    let threshold = found.threshold?;
    found.thresholds.iter().find(|row| (row.threshold - threshold).abs() < 1e-9)
}

/// Whether the other way finds so much more of the copies that it is worth a change: more than what
/// the step finds at the threshold to go by, and than what it finds now, where that is as precise.
fn finds_more(other: &OtherWay, found: &Calibration, suggestion: &Suggestion) -> bool {
    if other.whiten && !found.whitened.as_ref().is_some_and(Whitened::is_enough) {
        return false;
    }
    // A threshold that may be precise is not held against one that is sure.
    let theirs = other.suggestion.as_ref();
    let theirs = theirs.and_then(|known| known.cautious.or(known.lowest.filter(|_| suggestion.cautious.is_none())));
    let recall = |found: Option<(f64, f64)>| found.map_or(0.0, |(_, recall)| recall);
    let now = of_step(found).filter(|now| now.precision >= suggestion.precision).map_or(0.0, |now| now.recall);
    let (ours, theirs) = (recall(best(Some(suggestion))).max(now), recall(theirs));
    theirs > ours + MORE.max(noise(found.images, ours, theirs))
}

/// Two standard errors of the difference of two recalls. The copies of one image are found or missed
/// together, so each image counts as one observation.
#[expect(clippy::cast_precision_loss, reason = "a number of images")]
fn noise(images: u64, a: f64, b: f64) -> f64 {
    2.0 * ((a * (1.0 - a) + b * (1.0 - b)) / images.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A calibration that finds these shares of the copies at 0.9, surely, and at 0.8.
    fn found(images: u64, population: u64, (sure, lowest): (Option<f64>, f64)) -> Calibration {
        let suggestion = suggestion(sure, lowest);
        Calibration {
            step: "dedup".into(),
            vectors: "embed/copy".into(),
            whiten: false,
            threshold: None,
            edits_at: None,
            images,
            population,
            copies: 30 * images,
            references: population,
            normalised: None,
            lookalikes: Vec::new(),
            unlike: Vec::new(),
            other: None,
            whitened: Some(Whitened { on: 2000, fewest: 1024 }),
            micro_ap: 0.9,
            micro_ap_at_least: 0.9,
            thresholds: Vec::new(),
            edits: Vec::new(),
            suggestions: vec![suggestion],
            rows: Vec::new(),
        }
    }

    fn suggestion(sure: Option<f64>, lowest: f64) -> Suggestion {
        let (lowest, cautious) = (Some((0.8, lowest)), sure.map(|recall| (0.9, recall)));
        Suggestion { precision: 0.99, drops: Some(1), lowest, cautious }
    }

    fn said(found: &Calibration) -> String {
        where_next(Path::new("w"), found, "p.toml")
    }

    #[test]
    fn the_other_way_is_named_where_it_is_better_and_no_chance() {
        let with = |images: u64, ours: f64, theirs: Option<f64>, change: &dyn Fn(&mut Calibration)| {
            let mut found = found(images, 4000, (Some(ours), ours + 0.01));
            found.other = Some(OtherWay { whiten: true, micro_ap: 0.9, suggestion: Some(suggestion(theirs, 0.99)) });
            change(&mut found);
            said(&found).contains("whitening finds more: lvd plan p.toml --set dedup.whiten=true")
        };
        assert!(with(300, 0.4, Some(0.6), &|_| ()));
        assert!(!with(20, 0.4, Some(0.6), &|_| ()), "chance");
        assert!(!with(300, 0.4, None, &|_| ()), "a threshold that is not sure");
        assert!(!with(300, 0.4, Some(0.6), &|found| found.whitened = Some(Whitened { on: 46, fewest: 1024 })));
        let now = |precision: f64| {
            move |found: &mut Calibration| {
                found.threshold = Some(0.85);
                let (threshold, recall, precision_at_least) = (0.85, 0.7, precision);
                let (right, wrong, undecided, drops, unlike) = (7, 0, 0, None, None);
                found.thresholds.push(ThresholdRow {
                    threshold,
                    recall,
                    precision,
                    precision_at_least,
                    right,
                    wrong,
                    undecided,
                    drops,
                    unlike,
                });
            }
        };
        assert!(!with(300, 0.4, Some(0.6), &now(0.995)), "less than the step finds now");
        assert!(with(300, 0.4, Some(0.6), &now(0.5)));
    }

    #[test]
    fn it_is_said_where_no_threshold_is_sure() {
        let sure = said(&found(300, 4000, (Some(0.4), 0.7)));
        assert!(sure.contains("0.9 finds 0.400 of the edited copies and is sure; 0.8 finds 0.700"), "{sure}");
        let unsure = said(&found(100, 4000, (None, 0.7)));
        assert!(unsure.contains("no threshold is sure; 0.8 finds 0.700"), "{unsure}");
        assert!(unsure.contains("look at them (alike.parquet, unlike.parquet) before you take it"), "{unsure}");
        assert!(unsure.contains("--images 300") && unsure.contains("\nthen: lvd plan p.toml"), "{unsure}");
    }

    #[test]
    fn no_more_images_are_asked_for_than_there_are() {
        let of = |images, population| said(&found(images, population, (Some(0.4), 0.7)));
        assert!(of(50, 4000).contains("calibrate with 300 or more (--images)"));
        assert!(of(50, 120).contains("calibrate with all 120 (--images 120)"));
        assert!(of(50, 50).contains("there are no more"));
        assert!(!of(100, 4000).contains("warning"));
    }
}
