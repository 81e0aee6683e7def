// What a cell reads besides its configuration: hashes that its row keeps (environment.inputs).
#pragma once
#include "run/cell.h"
#include "run/models.h"

namespace qroar {

/// Returns the hash of everything that can change a number of the cell and that its id does not contain: model,
/// tokenizer, texts, tasks, tables of RoPE, the reference, scales from a file.  A row with other hashes is not
/// finished, and its parts are not gone on with.  Throws an Error where the model's files are damaged.
Json inputs_of(const Cell& cell, Models& models);

}  // namespace qroar
