//! Fuzz targets and their corpora; the corpora are replayed by plain cargo test.
