"""Reference pages made from the code: parameters, command line, HTTP interface, series."""
