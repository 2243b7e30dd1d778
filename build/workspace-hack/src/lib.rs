//! Pins one feature set of the shared dependencies for every selection of packages; has no code.
