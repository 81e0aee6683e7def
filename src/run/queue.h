// Which cell a process takes next, where several work on one sweep.
#pragma once
#include <optional>
#include <vector>

namespace qroar {

enum class CellState { open, held, done };  ///< held: by another process

/// The cell after the `last` one that this process had, while it is open, since neighbours share models and searches.
/// Else of the longest stretch of open cells the first one, or the one in its middle where another process is working
/// its way towards the stretch.  Nothing where no cell is open.
std::optional<std::size_t> next_cell(const std::vector<CellState>& states, std::optional<std::size_t> last);

/// Cuts costs in a row into at most `parts` neighbourhoods [begin, end), none of them empty, so that the dearest is as
/// cheap as can be.  `joined` says of a cell that it would cost so much more were it cut off from the one before it.
std::vector<std::pair<std::size_t, std::size_t>> pack(const std::vector<double>& costs,
                                                      const std::vector<double>& joined, std::size_t parts);

}  // namespace qroar
