//! The built-in example: a crawl made from a seed, with its ground truth, and the small ViTs that embed it.

pub mod vit;
