#!/bin/sh
# Makes DejaVuSans-subset.ttf from Debian's fonts-dejavu-core, with pyftsubset of fonttools (Debian: fonttools). The build
# does not need it: the result is kept beside this script.
set -e
cd "$(dirname "$0")"
pyftsubset /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf --output-file=DejaVuSans-subset.ttf \
  --no-hinting --notdef-outline --layout-features='' --drop-tables+=GSUB,GPOS,GDEF,kern,FFTM,gasp \
  --unicodes="U+0020-007E,U+00A0-017F,U+0192,U+0218-021B,U+02C6-02DD,U+0300-0304,U+0306-0308,U+030A-030C,U+0327-0328,\
U+0370-03FF,U+0400-045F,U+0490-0491,U+1E9E,U+2010-2027,U+2030-2033,U+2039-203A,U+2044,U+2070-208E,U+20AC,U+2116,U+2122,\
U+2126,U+2190-21FF,U+2200-22FF,U+2308-230B,U+25A0-25FF,U+2713,U+2717,U+27E8-27E9,U+FFFD"
