//! Numbers that cannot be: each is a fault of `check`, with its key, before anything runs.

use crate::common::{failure, on_example, strs};
use lvd::stages::{cluster, dedup, embed, export, ingest, retrieve, sample};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;

/// What `check` says about the example with these settings.
fn complaint(settings: &[&str]) -> String {
    let work = std::env::temp_dir().join("no-such-work-folder");
    let more: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let (code, said) = failure(&strs(&on_example("check", &work, &more)));
    assert_eq!(code, 2, "{settings:?}: {said}");
    assert!(said.contains("hint:") && !said.contains("panic"), "{settings:?}: {said}");
    said
}

/// The settings that are fractions, after what they stand below.
fn fractions<T: JsonSchema>(below: &str) -> Vec<String> {
    let schema = schema_for!(T);
    let properties = schema.as_value()["properties"].as_object().expect("settings").clone();
    let is_number =
        |kind: &Value| kind == "number" || kind.as_array().is_some_and(|kinds| kinds.contains(&"number".into()));
    properties
        .iter()
        .filter(|(_, property)| is_number(&property["type"]))
        .map(|(key, _)| format!("{below}.{key}"))
        .collect()
}

#[test]
fn no_fraction_is_nan_infinite_or_far_out_of_range() {
    let all = [
        fractions::<ingest::Ingest>("ingest"),
        fractions::<ingest::Http>("ingest.http"),
        fractions::<embed::Embed>("embed"),
        fractions::<dedup::Dedup>("dedup"),
        fractions::<cluster::Cluster>("cluster"),
        fractions::<retrieve::Retrieve>("retrieve"),
        fractions::<retrieve::SetRule>("retrieve.sets.sailing"),
        fractions::<sample::Sample>("sample"),
        fractions::<export::Export>("export"),
    ]
    .concat();
    for known in
        ["dedup.threshold", "cluster.tolerance", "retrieve.sets.sailing.min_similarity", "ingest.http.timeout_s"]
    {
        assert!(all.iter().any(|key| key == known), "{known} is not among {all:?}");
    }
    for key in all {
        for number in ["nan", "inf", "-inf", "1e30", "-1e30"] {
            let said = complaint(&[&format!("{key}={number}")]);
            assert!(said.contains(&format!("steps.{key}: ")), "{key}={number}: {said}");
        }
    }
    let said = complaint(&["scale=nan"]);
    assert!(said.contains("scale: a scale of NaN"), "{said}");
}

#[test]
fn what_the_pool_cannot_give_is_found_before_anything_runs() {
    for (settings, expected) in [
        (&["cluster.clusters=[]"][..], "steps.cluster.clusters: says no number of clusters"),
        (&["cluster.clusters=[0]"], "steps.cluster.clusters: levels must have ever fewer clusters, and at least 1"),
        (&["cluster.clusters=[401]"], "400 pool images at most are too few for 401 clusters"),
        (&["cluster.clusters=[-5]"], "steps.cluster.clusters"),
        (&["retrieve.sets.sailing.k=401"], "401 neighbours of 400 pool images at most"),
        (&["retrieve.sets.sailing.k=0"], "steps.retrieve.sets.sailing.k: 0 neighbours"),
        (
            &["retrieve.sets.sailing.min_similarity=0.8", "retrieve.copy_similarity=0.8"],
            "steps.retrieve.sets.sailing.min_similarity: from 0.8 on, and images from `copy_similarity` = 0.8 on are copies",
        ),
        (
            &["retrieve.sets.night.level=3"],
            "steps.retrieve.sets.night.level: level 3, and `clusters` of the cluster step has 2",
        ),
        (&["retrieve.sets.night.level=0"], "steps.retrieve.sets.night.level: level 0"),
        (
            &["retrieve.sets.sailing={ method = \"cluster\", level = 5 }"],
            "level 5, and `clusters` of the cluster step has 2",
        ),
        (&["sample.target=100000"], "steps.sample.target: 100000 images of"),
        (&["sample.quotas={ news = 199 }"], "steps.sample.quotas.news: 199 images of"),
        (
            &["sample.quotas={ web = 150, news = 51 }"],
            "steps.sample.quotas: 201 images together, more than the target of 200",
        ),
        (&["sample.per_cluster=0"], "steps.sample.per_cluster"),
        (&["export.shard_rows=0"], "steps.export.shard_rows"),
    ] {
        let said = complaint(settings);
        assert!(said.contains(expected), "{settings:?}: expected {expected:?} in:\n{said}");
    }
}
