// Selects the cell that a process takes next, where several processes work on one sweep.
#pragma once
#include <optional>
#include <vector>

namespace qroar {

enum class CellState { open, held, done };  ///< held: claimed by another process

/// Returns the cell after the `last` one that this process had, if it is open, since neighbours share models and
/// searches. Otherwise returns the first cell of the longest run of open cells, or its middle cell where another
/// process works on the cell directly before the run.  Returns nothing where no cell is open.
std::optional<std::size_t> next_cell(const std::vector<CellState>& states, std::optional<std::size_t> last);

/// Partitions consecutive costs into at most `parts` nonempty ranges [begin, end) so that the largest cost of a range
/// is minimal.  `joined` is the additional cost of a cell when it is separated from the one before it.
std::vector<std::pair<std::size_t, std::size_t>> pack(const std::vector<double>& costs,
                                                      const std::vector<double>& joined, std::size_t parts);

}  // namespace qroar
