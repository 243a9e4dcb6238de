//! The elements that a raw access unit may begin with, by their first three bits (14496-3, table 4.85).

pub(super) const ELEMENT_SINGLE: u8 = 0;
pub(super) const ELEMENT_PAIR: u8 = 1;
pub(super) const ELEMENT_DATA: u8 = 4;
pub(super) const ELEMENT_PROGRAM: u8 = 5;
pub(super) const ELEMENT_FILL: u8 = 6;
