# fish completion for gatepass; written by: gatepass completion fish

function __gatepass_offers
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l option (string match -r -- '^--[^=]*=' "$current")
	for offer in (command gatepass complete -- $words[2..-1] "$current" 2>/dev/null)
		switch $offer
			case ':command*'
				set -e words[1..(string split \t -- $offer)[2]]
				complete -C (string join ' ' -- (string escape -- $words) "$current")
			case :file
				string join \n -- "$option"(__fish_complete_path (string replace -- "$option" '' "$current"))
			case :directory
				string join \n -- "$option"(__fish_complete_directories (string replace -- "$option" '' "$current"))
			case '*'
				echo $offer
		end
	end
end

complete -c gatepass -f
complete -c gatepass -a '(__gatepass_offers)'
