//! The rules of the repository that no compiler checks.

mod arrows;
mod console;
mod dependencies;
mod languages;
mod map;
mod modules;
mod pages;
mod paths;
mod source;
mod tidy;
