// Estimates of the memory that a cell needs: what decides whether its weights are streamed, and refuses what cannot fit
// before anything is read.
#pragma once
#include "run/cell.h"

namespace qroar {

/// Returns an estimate of the bytes that a cell needs in all: the largest forward, or its calibration where that takes
/// more; weights with the changed ones beside them or, where they are streamed, embeddings, head and a layer as it is
/// read and as it is changed; and the same of another checkpoint that metrics compare with.
int64_t memory_bytes(const Cell& cell, bool streamed);
/// Returns whether the cell's model is streamed on the device: as `model.weights` says, or, where that is auto and
/// nothing needs resident weights, since they do not fit what was free when this was first asked.  Ask before the
/// process makes a model.
bool is_streamed(const Cell& cell, const at::Device& device);
/// Throws an Error when what the cell needs beside its weights, and embeddings, head and layers where they are
/// streamed, exceeds the device's free memory; and when resident weights, without those that are mapped from their
/// files, exceed with it what was free when is_streamed() was first asked.
void check_memory(const Cell& cell, const at::Device& device, bool streamed);

}  // namespace qroar
