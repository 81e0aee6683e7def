// Warnings that would otherwise repeat for many cells of a run.
#pragma once
#include <string>

namespace qroar {

/// Logs a warning, unless the process has logged the same one before.
void warn_once(const std::string& text);

}  // namespace qroar
