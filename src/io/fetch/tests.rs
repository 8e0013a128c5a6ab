//! Tests of fetching.
