// The tile registers of AMX.  Only for files that are compiled for that instruction set.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace qroar::ops::cpu {

constexpr int64_t kTileRows = 16;   // of a tile register
constexpr int64_t kTileBytes = 64;  // of its rows

/// Makes all eight tile registers of this thread 16 rows of 64 bytes; _tile_release() gives them back.
static inline void configure_tiles() {
  struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  static_assert(sizeof(config) == 64);
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = kTileBytes;
    config.rows[i] = kTileRows;
  }
  asm volatile("ldtilecfg %0" ::"m"(config) : "memory");  // GCC 12's intrinsic says that it reads 8 bytes
}

}  // namespace qroar::ops::cpu
