// Tests on the texts and models of the folder that QROAR_DATA names.  Without it they say SKIPPED; such a test
// carries the tag [data], under which CTest runs it by itself and shows it as skipped.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace qroar {

inline int skipped_tests = 0;

/// The data folder; without one, notes that `test` is skipped.
inline std::optional<std::filesystem::path> data_folder(const char* test) {
  if (const char* folder = std::getenv("QROAR_DATA")) return folder;
  ++skipped_tests;
  std::fprintf(stderr, "SKIPPED: %s: QROAR_DATA names no data folder\n", test);
  return std::nullopt;
}

}  // namespace qroar
