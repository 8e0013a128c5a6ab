//! Tests of the listings.
