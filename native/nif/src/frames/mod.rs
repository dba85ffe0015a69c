//! Frames out of terms: the VM's part of what [`sockeye_seam::frames`] does.

pub(crate) mod iolist;
pub(crate) mod outbound;
pub(crate) mod reader;

pub(crate) use sockeye_seam::frames::{Bounds, NORMAL_JSON, NORMAL_PAYLOAD};
pub(crate) use sockeye_seam::settings::CLIENT_TAG;
