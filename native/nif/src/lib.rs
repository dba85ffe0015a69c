//! The seam between the engine and the Erlang VM.
