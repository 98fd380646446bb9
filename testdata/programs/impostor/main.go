// Command impostor has the name of one of nines's programs and says that it is
// one. What it does when it is run as that, the folder that it is in says:
//
//	exits    it exits with 3
//	silent   it does nothing, for ever
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	name, does := filepath.Base(os.Args[0]), filepath.Base(filepath.Dir(os.Args[0]))
	if len(os.Args) > 1 && (os.Args[1] == "version" || os.Args[1] == "--version") {
		fmt.Println(name, "impostor")
		return
	}
	if does == "silent" {
		time.Sleep(time.Hour)
	}
	os.Exit(3)
}
