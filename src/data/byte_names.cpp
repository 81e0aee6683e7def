#include "data/byte_names.h"

#include <array>
#include <cstdint>
#include <unordered_map>

namespace qroar {
namespace {

/// Printable bytes are themselves, the others U+0100 and up.
struct ByteNames {
  std::array<std::string, 256> name_of;
  std::unordered_map<std::string, char> byte_of;

  ByteNames() {
    const auto utf8 = [](int c) {
      return c < 128 ? std::string(1, static_cast<char>(c))
                     : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    };
    int next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      std::string& name = name_of[static_cast<std::size_t>(byte)];
      name = utf8(printable ? byte : next++);
      byte_of[name] = static_cast<char>(byte);
    }
  }
};
const ByteNames& byte_names() {
  static const ByteNames names;
  return names;
}

}  // namespace

std::string name_of_bytes(std::string_view bytes) {
  const ByteNames& names = byte_names();
  std::string name;
  for (const char byte : bytes) name += names.name_of[static_cast<unsigned char>(byte)];
  return name;
}

std::string bytes_of_name(const std::string& name) {
  const ByteNames& names = byte_names();
  std::string bytes;
  for (std::size_t i = 0; i < name.size();) {
    const std::size_t length = static_cast<unsigned char>(name[i]) < 0x80 ? 1 : 2;
    const auto byte = names.byte_of.find(name.substr(i, length));
    if (byte == names.byte_of.end()) return name;
    bytes += byte->second;
    i += length;
  }
  return bytes;
}

}  // namespace qroar
