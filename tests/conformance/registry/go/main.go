// Go's own clients against the registry: `session ADDRESS ADDRESS` and `discover ADDRESS FILE`.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "session" {
		session(os.Args[2], os.Args[3])
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "discover" {
		discover(os.Args[2], os.Args[3])
		return
	}
	fmt.Fprintln(os.Stderr, "usage: session ADDRESS ADDRESS | discover ADDRESS FILE")
	os.Exit(2)
}
