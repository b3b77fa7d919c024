//! What a check reports of sound images and of badly damaged ones.
