//! Fuzz targets, and the replay of their corpora on a stable toolchain.
