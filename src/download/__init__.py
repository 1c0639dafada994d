"""The data set as a folder of records: mirrors, archives, record layout."""
