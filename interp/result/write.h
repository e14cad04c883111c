// A Result as a folder of files, and back. README.md in this folder describes the format for other programs.
#pragma once

#include <string>

#include "interp/result/result.h"

namespace vitrine {

/// The text of result.json: keys in a fixed order, numbers as the shortest digits that read back equal, names of
/// entries in the order in which they were added. Text that is no UTF-8 has U+FFFD in place of malformed bytes.
std::string to_json(const Result&);

/// A table as comma-separated values (RFC 4180): a header, then the rows; lines end with CR LF. NaN and infinity are
/// empty fields, control characters in texts are U+FFFD.
std::string to_csv(const Table&);

/// One self-contained page that shows all of it: charts and pictures are within, nothing is requested from outside. Of
/// tables the first 500 rows are shown, of maps the first 48 planes, in colours whose scale stands below.
std::string to_html(const Result&);

/// Writes the folder (made if it is missing): arrays as NAME.npy, tables as NAME.csv, pictures as NAME.png, curves as
/// NAME.svg, prose as text.txt, the page index.html, and last result.json, so that its presence says that the folder is
/// complete. Each file appears whole or not at all. The same result gives the same bytes. Throws Error.
void write_result(const Result&, const std::string& folder);

/// Reads what write_result wrote. Strict: an Error names the file, and the key that is missing, unknown, twice there or
/// of another type, or the array or picture that does not fit it. NaN stands for what JSON has as null.
Result read_result(const std::string& folder);

}  // namespace vitrine
