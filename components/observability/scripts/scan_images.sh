#!/bin/sh
# Scans each image of a list and leaves one report for each. An image that cannot be scanned has no report, and the others go on.
#   IMAGES   file with a name and a reference in each line
#   REPORTS  folder for NAME.json; what else Trivy is told stands in its own variables (TRIVY_*)
# May be started again: what has a report is not scanned twice, and what ended the whole container, by its memory, is passed over.
# The image of Trivy has BusyBox's shell and nothing else.
set -eu
: "${IMAGES:=/etc/image-scan/images}" "${REPORTS:=/reports}"

mkdir -p "$TMPDIR"
while read -r name reference; do
  if [ -e "$REPORTS/$name.json" ]; then continue; fi
  if [ -e "$REPORTS/$name.begun" ]; then
    echo "$name: not scanned: its scan was stopped before its end" >&2
    continue
  fi
  : >"$REPORTS/$name.begun"
  echo "$name: scanning $reference"
  # Renamed when it is whole: half a report would read as an image with fewer vulnerabilities.
  if trivy image --no-progress --format json --output "$REPORTS/$name.part" "$reference" </dev/null; then
    mv "$REPORTS/$name.part" "$REPORTS/$name.json"
  else
    echo "$name: not scanned" >&2
  fi
done <"$IMAGES"
