// Bytes as GPT-2 writes them in a vocabulary: each is a printable character.
#pragma once
#include <string>
#include <string_view>

namespace qroar {

std::string name_of_bytes(std::string_view bytes);

/// Returns the bytes of a token, or its name where that contains other characters.
std::string bytes_of_name(const std::string& name);

}  // namespace qroar
