//go:build !linux

package main

// maxrssUnit is the unit of ru_maxrss in getrusage, in bytes.
const maxrssUnit = 1
