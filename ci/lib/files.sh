# shellcheck shell=bash
# files.sh: which files of the tree people write.

# written_files PATTERN...: the files that git knows or would add, without those that .gitattributes calls generated.
written_files() {
	local file
	git ls-files --cached --others --exclude-standard -- "$@" | sort -u |
		git check-attr --stdin linguist-generated |
		sed -n 's/: linguist-generated: \(unspecified\|unset\)$//p' |
		while read -r file; do
			if [[ -f $file ]]; then echo "$file"; fi
		done
}
