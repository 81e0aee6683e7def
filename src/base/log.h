// The form of log lines, on the terminal and in a cell's log.txt.
#pragma once
#include <spdlog/formatter.h>

#include <memory>
#include <string>

namespace qroar {

/// Returns a formatter for spdlog's pattern, in which %* is the message made visible(): it may quote any file, and is
/// one line that acts on no terminal.
std::unique_ptr<spdlog::formatter> log_format(const std::string& pattern);

/// Lets messages that cannot be written (a full disk, a closed stderr) be lost, with one warning on stderr: no number
/// depends on them.
void let_log_fail();

}  // namespace qroar
