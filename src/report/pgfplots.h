// The data of a figure for LaTeX's package pgfplots.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

/// One point of a figure: its place along the numeric axis, its line, and its value with the ends of its interval (NaN
/// where there is none).
struct FigurePoint {
  double x;
  std::string line;  ///< everything else that tells it from other points
  double value, low, high;
};

/// Returns the numeric axis that a figure of these rows has along x: windows.length where it varies, else the first one
/// that does; empty where none does, and rows are then numbered.
std::string x_axis_of(const std::vector<Json>& rows);

/// Returns the row's place along that axis; its number, from 1, where there is none.
double place_of(const Json& row, const std::string& x, std::size_t number);

/// Returns the labels of the row's other axes: "yarn ×8, rtn W4 g64"; with numbered rows the row is a line by itself.
/// `with_names`: each behind the name of its axis, where rows need_names().
std::string line_of(const Json& row, const std::string& x, bool with_names);

/// Returns whether two rows would be one point otherwise: levels of two axes may be called the same.
bool need_names(const std::vector<Json>& rows, const std::string& x);

/// Returns a table for \addplot table: a line for each x, and for each line of the figure three columns, its value and
/// the lengths of its error bars down and up.  Comments at its top name the lines.
std::string pgfplots_text(const std::string& x_name, const std::vector<FigurePoint>& points);

}  // namespace qroar
