//! Tells the program for which processors FAISS is compiled: faiss-sys compiles it with CXXFLAGS.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CXXFLAGS");
    let flags = std::env::var("CXXFLAGS").unwrap_or_default();
    let last = flags.split_whitespace().filter_map(|flag| flag.strip_prefix("-march=")).next_back();
    println!("cargo:rustc-env=LVD_FAISS_MARCH={}", last.unwrap_or_default());
}
