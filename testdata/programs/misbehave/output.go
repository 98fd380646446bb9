package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
)

func flood(args []string) {
	lines := -1
	if len(args) > 0 {
		lines = integer(args[0])
	}
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	for i := 0; i != lines; i++ {
		_, err := fmt.Fprintf(w, "line %d of a flood\n", i)
		check(err)
	}
	check(w.Flush())
}

func printOdd(args []string) {
	var b []byte
	switch arg(args, 0, "") {
	case "partial":
		b = []byte("no newline after this")
	case "binary":
		for i := range 256 {
			b = append(b, byte(i))
		}
		b = append(b, '\n')
	case "long":
		b = append(bytes.Repeat([]byte("x"), integer(arg(args, 1, "1048576"))), '\n')
	default:
		fail("print what? partial, binary, long")
	}
	_, err := os.Stdout.Write(b)
	check(err)
	forever()
}

func echo(args []string) {
	for _, text := range args {
		_, err := fmt.Println(text)
		check(err)
		_, err = fmt.Fprintln(os.Stderr, "err: "+text)
		check(err)
	}
}

func serve([]string) {
	code := func(r *http.Request, otherwise int) int {
		n, err := strconv.Atoi(r.FormValue("code"))
		if err != nil {
			return otherwise
		}
		return n
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		err := json.NewEncoder(w).Encode(map[string]any{
			"pid":         os.Getpid(),
			"service":     os.Getenv("NINES_SERVICE"),
			"instance":    os.Getenv("NINES_INSTANCE_ID"),
			"incarnation": os.Getenv("NINES_INCARNATION"),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "misbehave:", err)
		}
	})
	http.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) { os.Exit(code(r, 0)) })
	http.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	http.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code(r, 200)) })
	port := os.Getenv("NINES_PORT_http")
	if port == "" {
		fail("NINES_PORT_http is not set")
	}
	say()
	check(http.ListenAndServe("127.0.0.1:"+port, nil))
}
